"""The caption that language models read, who suggests goals by it, and the statements on which these depend."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from envs.housekeep.captions import PICK_UP, PLACE, explore, pick_up, put, verb_and_thing
from envs.housekeep.homes import Home
from envs.housekeep.placements import Placements
from envs.interface import Judgements, Privileged, Situation, Statement

QUESTIONS = (
    "Here are questions about where people keep things in a tidy home. Answer each with Yes or No.\n"
    'Do people usually keep "spoon" on the living room sofa? No\n'
    'Do people usually keep "mixing bowl" in the kitchen dishwasher? Yes\n'
    'Do people usually keep "sock" in the bedroom dresser? Yes'
)
_SEEN, _UNSEEN, _HOLD = "You have seen ", "You have not been in ", "You hold "
_NOTHING = "nothing"


def situation(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    instruction: str | None = None,
) -> Situation:
    """Everything seen so far in the episode, rooms that were seen from outside, and what is held: the paper's caption.

    Args:
        known: what belongs where.
        home: at the start of the episode.
        visited: rooms in which the player has been, in order of their numbers.
        at: for each object, the receptacle in which it lies; -1 if it is held.
        held: the object in the hand, or -1.
        instruction: the task, if there is one.
    """
    thing = [known.objects[kind] for kind in home.objects]
    places = seen_places(home, visited)
    sentences = [_SEEN + ", ".join(str(known.places[home.places[p]]) for p in places)]
    sentences += [f"{thing[o]} is {known.where(home.places[p])}" for o, p in enumerate(at) if p in places]
    unseen = _rooms(known, home, home.unseen(visited))
    sentences += [_UNSEEN + ", ".join(unseen)] if unseen else []
    sentences.append(_HOLD + (thing[held] if held >= 0 else _NOTHING))
    return Situation(". ".join(sentences) + ".", instruction)


def oracle(known: Placements, home: Home, visited: Sequence[int], at: Sequence[int], held: int) -> Privileged:
    """What somebody with perfect judgement would suggest who reads the paper's caption (arguments as for it).

    Holding nothing: pick up each object seen so far that lies where it does not belong. Holding one: place it in each
    right receptacle seen so far. Without any such goal: explore each room that the player knows of, and in which it has
    not been.

    Bad goals: pick up what lies right; place it where it does not belong. Needed is whatever could be done now: who put
    an object back may pick it up again.
    """
    places = seen_places(home, visited)
    if held >= 0:
        thing = known.objects[home.objects[held]]
        goals = {put(thing, known.where(home.places[p])): bool(home.right[held, p]) for p in places}
    else:
        goals = {
            pick_up(known.objects[home.objects[o]], str(known.places[home.places[p]])): not home.right[o, p]
            for o, p in enumerate(at)
            if p in places
        }
    possible = tuple(goal for goal, good in goals.items() if good)
    unseen = tuple(map(explore, _rooms(known, home, home.unseen(visited))))
    bad = tuple(goal for goal, good in goals.items() if not good)
    return Privileged(possible or unseen, needed=tuple(goals), bad=bad)


def _rooms(known: Placements, home: Home, rooms: Iterable[int]) -> list[str]:
    """Names of rooms of a home."""
    names = list(known.rooms)
    return [names[home.rooms[room]] for room in rooms]


def seen_places(home: Home, visited: Sequence[int]) -> list[int]:
    """The receptacles of the rooms in which the player has been."""
    return [p for p, room in enumerate(home.place_room) if room in visited]


def clauses_of(caption: str) -> frozenset[str]:
    """Set of clauses of such a caption; each receptacle seen is one, and each room not seen.

    >>> sorted(clauses_of("You have seen kitchen sink, kitchen oven. You have not been in hall. You hold nothing."))
    ['You have not been in hall', 'You have seen kitchen oven', 'You have seen kitchen sink', 'You hold nothing']
    """
    clauses = []
    for sentence in caption.rstrip(".").split(". "):
        start = next((start for start in (_SEEN, _UNSEEN) if sentence.startswith(start)), None)
        clauses += [start + name for name in sentence[len(start) :].split(", ")] if start else [sentence]
    return frozenset(clauses)


class Reader:
    """Reads the caption that language models read, and the goals and statements in it.

    Args:
        known: what there is.
    """

    def __init__(self, known: Placements):
        self._where = {str(place): known.where(i) for i, place in enumerate(known.places)}
        self._rooms = frozenset(known.rooms)
        self._place = {where: place for place, where in self._where.items()}
        self._object_ids = {thing: i for i, thing in enumerate(known.objects)}
        self._place_ids = {str(place): i for i, place in enumerate(known.places)}
        self._right = known.right

    def candidates(self, caption: str) -> tuple[str, ...]:
        """What could be done: holding an object, place it in each receptacle seen; else pick up each object seen; explore
        each room known and not seen.
        """
        held, about, unseen = self._read(caption)
        return (*(self._goal(one, held) for one in about), *map(explore, unseen))

    def statements(self, caption: str) -> tuple[Statement, ...]:
        """That objects belong where they lie, or that the held one belongs in each receptacle seen."""
        return self._read(caption)[1]

    def goals(self, caption: str, judge: Callable[[Statement], bool | None]) -> tuple[str, ...]:
        """The goals of somebody who judges so: the rules of :func:`oracle`. Nothing to explore while there are judgements
        that are not known yet (None): they may give a goal.
        """
        held, about, unseen = self._read(caption)
        judged = [(one, judge(one)) for one in about]
        goals = [self._goal(one, held) for one, right in judged if right is held]
        unknown = any(right is None for _, right in judged)
        return tuple(goals or map(explore, () if unknown else unseen))

    def rearranged(self, caption: str, rng: random.Random, tidy: float = 0.0) -> str:
        """The caption with each object that lies somewhere in another receptacle, of those that are seen: where it belongs
        with probability ``tidy``, else at random.
        """
        sentences = caption.rstrip(".").split(". ")
        seen: list[str] = []
        for i, sentence in enumerate(sentences):
            seen = self._places(sentence) or seen
            for one in self._split(sentence) if seen else ():
                right = [place for place in seen if self._belongs(one.thing, place)] if tidy else []
                place = rng.choice(right if right and rng.random() < tidy else seen)
                sentences[i] = f"{one.thing} is {self._where[place]}"
        return ". ".join(sentences) + "."

    def _belongs(self, thing: str, place: str) -> bool:
        """Whether an object belongs in a receptacle."""
        return thing in self._object_ids and bool(
            self._right[self._object_ids[thing], self._place_ids[place]]
        )

    def _goal(self, one: Statement, held: bool) -> str:
        """To place an object there, or to pick it up from there."""
        return put(one.thing, one.where) if held else pick_up(one.thing, self._place[one.where])

    def _read(self, caption: str) -> tuple[bool, tuple[Statement, ...], list[str]]:
        """Whether something is held; that it belongs in each receptacle seen, or else that objects belong where they lie;
        rooms in which the player has not been.
        """
        seen: list[str] = []
        unseen: list[str] = []
        lying: list[Statement] = []
        thing = None
        for sentence in caption.rstrip(".").split(". "):
            if sentence.startswith(_SEEN):
                seen = self._places(sentence)
            elif sentence.startswith(_UNSEEN):
                unseen = [room for room in sentence[len(_UNSEEN) :].split(", ") if room in self._rooms]
            elif sentence.startswith(_HOLD):
                thing = sentence[len(_HOLD) :] if sentence[len(_HOLD) :] in self._object_ids else None
            else:
                lying += self._split(sentence)
        if thing is None:
            return False, tuple(lying), unseen
        return True, tuple(Statement(thing, self._where[place]) for place in seen), unseen

    def _places(self, sentence: str) -> list[str]:
        """The receptacles of "You have seen kitchen fridge, kitchen sink"; none of other sentences."""
        if not sentence.startswith(_SEEN):
            return []
        return [place for place in sentence[len(_SEEN) :].split(", ") if place in self._where]

    def _split(self, sentence: str) -> list[Statement]:
        """The object and the place of "apple is in kitchen fridge"; nothing if there is no such place."""
        for match in re.finditer(" is (?=(in|on) )", sentence):
            if sentence[match.end() :] in self._place:
                return [Statement(sentence[: match.start()], sentence[match.end() :])]
        return []


def unrewarded(event: str, before: Collection[str], rewarded: Collection[str]) -> bool:
    """Whether an event is not rewarded. An object is rewarded once for being picked up, the first time only, and once for
    being placed, if its picking up was rewarded. Otherwise moving objects back and forth, or out of their places and
    back, would be rewarded. So an object that nobody named when it was picked up is not rewarded later, either.

    Args:
        event: what happened.
        before: events earlier in the episode.
        rewarded: those of them that were rewarded.

    >>> sink, fridge = "pick up apple from kitchen sink", "place apple in kitchen fridge"
    >>> unrewarded("pick up apple from hall floor", {sink}, {sink}), unrewarded(fridge, {sink}, {sink})
    (True, False)
    >>> unrewarded(fridge, {sink, fridge}, {sink, fridge}), unrewarded(fridge, {sink}, set())
    (True, True)
    """
    verb, thing = verb_and_thing(event)
    if not thing:
        return False
    if verb == PICK_UP:
        return (verb, thing) in map(verb_and_thing, before)
    done = set(map(verb_and_thing, rewarded))
    return (PICK_UP, thing) not in done or (PLACE, thing) in done


def judgements(known: Placements, used: np.ndarray) -> Judgements:
    """The closed form of this world: one question for each object and receptacle.

    Args:
        known: what there is.
        used: which object can lie in which place, ``(objects, places)`` bool.
    """
    reader = Reader(known)
    pairs = np.argwhere(used).tolist()
    return Judgements(
        all=tuple(Statement(known.objects[o], known.where(p)) for o, p in pairs),
        of=reader.statements,
        goals=reader.goals,
        question=question,
        instructions=QUESTIONS,
    )


def question(statement: Statement) -> str:
    """The question about an object and a place.

    >>> question(Statement("apple", "in kitchen fridge"))
    'Do people usually keep "apple" in the kitchen fridge?'
    """
    preposition, _, place = statement.where.partition(" ")
    return f'Do people usually keep "{statement.thing}" {preposition} the {place}?'
