"""The words of the synthetic world: 12 topics of 4 sub-topics, as ordinary nouns.

Topics lie in six departments, two each, which are the world's coarse categories.
Ordinary words let a real text encoder tell the topics apart, and see that two
sub-topics of one topic are closer than two of different ones.
"""

from __future__ import annotations

from typing import Final

_VOCABULARY: Final = """
cooking baking flour dough yeast oven cake pastry muffin bread pie icing
cooking soup broth ladle lentil stew noodle stock onion barley bowl leek
cooking grill steak charcoal sausage ribs burger skewer tongs bacon brisket chop
cooking spice pepper saffron cumin ginger paprika clove nutmeg curry chili vanilla
garden flower rose tulip lily daisy orchid petal bouquet violet peony bloom
garden vegetable carrot lettuce cabbage radish pumpkin spinach turnip bean pea celery
garden tree oak maple birch willow pine cedar branch acorn orchard trunk
garden lawn mower grass hedge rake shovel hose fence compost soil turf
space planet mars venus jupiter saturn mercury neptune moon orbit crater uranus
space rocket launch astronaut booster capsule shuttle thruster payload fuel countdown lander
space telescope lens mirror astronomer eyepiece tripod refractor observer sky finder dome
space star galaxy nebula comet meteor quasar cosmos asteroid universe pulsar sun
computing program code compiler function variable debugger software library script syntax loop
computing robot actuator sensor gripper drone motor circuit servo android arm battery
computing network router server firewall cable packet modem protocol browser antenna gateway
computing videogame console player level quest arcade avatar gamepad puzzle boss score
ocean fish shark salmon tuna trout cod dolphin whale crab squid eel
ocean sailing yacht mast sail anchor rudder harbour keel captain rope hull
ocean diving scuba snorkel coral reef wetsuit mask wreck tank depth lagoon
ocean beach sand wave shell umbrella towel dune seagull tide pier swimsuit
travel train railway station carriage platform track tunnel ticket steam sleeper signal
travel airplane pilot runway wing cockpit airport jet propeller luggage flight hangar
travel hotel lobby suite pillow resort minibar balcony guest elevator keycard spa
travel camping tent campfire lantern hammock trail hiker stove forest canteen cabin
music guitar string chord fret strum banjo ukulele pick riff bass capo
music piano keyboard pedal sonata organ pianist octave melody scale prelude waltz
music drum cymbal snare drumstick rhythm bongo beat gong xylophone tempo drummer
music singing choir soprano lyrics opera tenor karaoke chorus ballad hymn voice
art painting canvas brush easel palette portrait pigment fresco gallery acrylic varnish
art pottery clay kiln glaze vase ceramic mug porcelain wheel teapot plate
art photography camera shutter film flash aperture darkroom negative zoom album filter
art sculpture marble chisel statue bronze bust carving pedestal granite plaster relief
sport football striker penalty stadium referee midfield goalpost tackle corner kickoff league
sport tennis racket serve net backhand volley court umpire deuce forehand ace
sport cycling bicycle saddle helmet spoke tyre chain gear peloton brake rider
sport boxing glove punch knockout jab opponent bout trainer uppercut champion fighter
health dental tooth dentist floss gum cavity braces molar enamel crown mouthwash
health heart artery pulse cholesterol valve blood vein pacemaker surgeon pressure clinic
health yoga meditation mat stretch breathing posture lotus instructor relaxation balance chakra
health sleep mattress dream snore blanket nap bedtime pyjamas duvet alarm lullaby
animals dog puppy leash kennel bone collar poodle bark tail hound paw
animals cat kitten whisker litter purr tabby claw catnip meow feline fur
animals horse pony stable jockey mane gallop foal hoof rein paddock bridle
animals bird parrot nest owl eagle beak canary egg swan robin aviary
clothing shoe boot sandal sneaker heel lace slipper sole loafer insole buckle
clothing dress gown skirt silk blouse sequin satin hem ruffle velvet corset
clothing hat cap beret fedora bonnet visor turban brim beanie hood tiara
clothing knitting yarn wool needle sweater scarf mitten stitch sock thread loom
"""
"""A line each: topic, sub-topic, its ten nouns."""

_LINES: Final = tuple(tuple(line.split()) for line in _VOCABULARY.strip().splitlines())

SUBTOPICS: Final = tuple((topic, subtopic) for topic, subtopic, *_ in _LINES)
"""(topic, sub-topic) by sub-topic number; four in a row share a topic."""
WORDS: Final = tuple(tuple(words) for _, _, *words in _LINES)
"""The nouns of each sub-topic, by its number."""
TOPICS: Final = tuple(dict.fromkeys(topic for topic, _ in SUBTOPICS))
SUBTOPICS_PER_TOPIC: Final = len(SUBTOPICS) // len(TOPICS)
DEPARTMENTS: Final = ("home", "science", "outdoors", "culture", "body", "living")
"""Two topics in a row share a department."""
TOPICS_PER_DEPARTMENT: Final = len(TOPICS) // len(DEPARTMENTS)
