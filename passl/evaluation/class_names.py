"""Class names of known data sets, in the order of their labels.

ImageNet's thousand names are not here: give them as a file, in the order of your labels.
"""

from __future__ import annotations

import os
from typing import Dict, List, Sequence, Union

from passl.evaluation.named_lists import read_named_list
from passl.utils.errors import UserError


def _names(text: str) -> List[str]:
    return [" ".join(name.split()) for name in text.split(",")]


CLASS_NAMES: Dict[str, List[str]] = {
    "digits": _names("zero, one, two, three, four, five, six, seven, eight, nine"),
    "cifar10": _names("airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"),
    # The order of the labels in the published files, which is that of the alphabet.
    "cifar100": _names("""
    apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus, butterfly,
    camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile,
    cup, dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house, kangaroo, keyboard, lamp,
    lawn mower, leopard, lion, lizard, lobster, man, maple tree, motorcycle, mountain, mouse, mushroom, oak tree,
    orange, orchid, otter, palm tree, pear, pickup truck, pine tree, plain, plate, poppy, porcupine, possum, rabbit,
    raccoon, ray, road, rocket, rose, sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel,
    streetcar, sunflower, sweet pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip,
    turtle, wardrobe, whale, willow tree, wolf, woman, worm
    """),
    # The folder names of the official data in the order that sorting them gives ("cheese_plate" before "cheesecake"),
    # with spaces for underscores. The official meta/classes.txt may have another order: go by name, not by line.
    "food101": _names("""
    apple pie, baby back ribs, baklava, beef carpaccio, beef tartare, beet salad, beignets, bibimbap, bread pudding,
    breakfast burrito, bruschetta, caesar salad, cannoli, caprese salad, carrot cake, ceviche, cheese plate,
    cheesecake, chicken curry, chicken quesadilla, chicken wings, chocolate cake, chocolate mousse, churros,
    clam chowder, club sandwich, crab cakes, creme brulee, croque madame, cup cakes, deviled eggs, donuts,
    dumplings, edamame, eggs benedict, escargots, falafel, filet mignon, fish and chips, foie gras, french fries,
    french onion soup, french toast, fried calamari, fried rice, frozen yogurt, garlic bread, gnocchi, greek salad,
    grilled cheese sandwich, grilled salmon, guacamole, gyoza, hamburger, hot and sour soup, hot dog,
    huevos rancheros, hummus, ice cream, lasagna, lobster bisque, lobster roll sandwich, macaroni and cheese,
    macarons, miso soup, mussels, nachos, omelette, onion rings, oysters, pad thai, paella, pancakes, panna cotta,
    peking duck, pho, pizza, pork chop, poutine, prime rib, pulled pork sandwich, ramen, ravioli, red velvet cake,
    risotto, samosa, sashimi, scallops, seaweed salad, shrimp and grits, spaghetti bolognese, spaghetti carbonara,
    spring rolls, steak, strawberry shortcake, sushi, tacos, takoyaki, tiramisu, tuna tartare, waffles
    """),
}


def get_class_names(value: Union[str, os.PathLike[str], Sequence[str]]) -> List[str]:
    """The class names that `value` stands for, in the order of the labels.

    Args:
        value: the name of a known set (`CLASS_NAMES`), a list of names, or the path of a .txt file with one a line.

    Raises:
        UserError: an unknown name, an unreadable file, or a name that stands twice, with both places.

    Example:
        >>> get_class_names("digits")[:3]
        ['zero', 'one', 'two']
    """
    first_place: Dict[str, str] = {}
    for name, place in read_named_list(value, CLASS_NAMES, "class names"):
        if name in first_place:
            raise UserError(
                f"{place}: the class name {name!r} stands already at {first_place[name]}; two classes of one name "
                "cannot be told apart by their prompts"
            )
        first_place[name] = place
    return list(first_place)
