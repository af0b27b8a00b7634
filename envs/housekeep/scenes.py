"""The caption that language models read, who suggests goals by it, and the statements on which these depend."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from envs.housekeep.captions import explore, pick_up, put
from envs.housekeep.homes import Home
from envs.housekeep.placements import Placements
from envs.interface import Judgements, Privileged, Situation, Statement

QUESTIONS = (
    "Here are questions about where people keep things in a tidy home. Answer each with Yes or No.\n"
    'Do people usually keep "spoon" on the living room sofa? No\n'
    'Do people usually keep "mixing bowl" in the kitchen dishwasher? Yes\n'
    'Do people usually keep "sock" in the bedroom dresser? Yes'
)
_SEEN, _UNSEEN, _HOLD, _PUT = "You have seen ", "You have not been in ", "You hold ", "You have put "


def situation(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    put_where: Iterable[tuple[int, int]],
    instruction: str | None = None,
) -> Situation:
    """Everything seen so far in the episode, rooms that were seen from outside, what is held, and what the player has put
    where: the paper's caption.

    Args:
        known: what belongs where.
        home: at the start of the episode.
        visited: rooms in which the player has been, in order of their numbers.
        at: for each object, the receptacle in which it lies; -1 if it is held.
        held: the object in the hand, or -1.
        put_where: objects and receptacles into which the player has put them, in order.
        instruction: the task, if there is one.
    """
    thing = [known.objects[kind] for kind in home.objects]
    places = seen_places(home, visited)
    sentences = [_SEEN + ", ".join(str(known.places[home.places[p]]) for p in places)]
    sentences += [f"{thing[o]} is {known.where(home.places[p])}" for o, p in enumerate(at) if p in places]
    unseen = _rooms(known, home, home.unseen(visited))
    sentences += [_UNSEEN + ", ".join(unseen)] if unseen else []
    if held >= 0:
        sentences.append(f"{_HOLD}{thing[held]} from {known.places[home.places[home.at[held]]]}")
    else:
        sentences.append("You hold nothing")
    sentences += [f"{_PUT}{thing[o]} {known.where(home.places[p])}" for o, p in put_where]
    return Situation(". ".join(sentences) + ".", instruction)


def oracle(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    put_where: Iterable[tuple[int, int]],
) -> Privileged:
    """What somebody with perfect judgement would suggest who reads the paper's caption (arguments as for it).

    Holding nothing: pick up each object seen so far that lies where it does not belong. Holding one that was misplaced at
    the start: place it in each right receptacle seen so far. An object that was put into a right place once leaves the
    goals (as in the paper). So does the picking up of an object that the player has moved: otherwise moving it from one
    wrong place to the next would be rewarded again and again. Without any such goal: explore each room that the player
    knows of, and in which it has not been.

    Bad goals: pick up what lies right; place it where it does not belong.
    """
    put_where = list(put_where)
    places = seen_places(home, visited)
    if held >= 0:
        thing = known.objects[home.objects[held]]
        goals = {p: put(thing, known.where(home.places[p])) for p in places}
        done = any(o == held and home.right[o, p] for o, p in put_where)
        wanted = held in home.misplaced and not done
        possible = [goal for p, goal in goals.items() if wanted and home.right[held, p]]
        bad = [goal for p, goal in goals.items() if not home.right[held, p]]
    else:
        moved = {o for o, _ in put_where}
        goals = {
            o: pick_up(known.objects[home.objects[o]], str(known.places[home.places[p]]))
            for o, p in enumerate(at)
            if p in places
        }
        possible = [goal for o, goal in goals.items() if not home.right[o, at[o]] and o not in moved]
        bad = [goal for o, goal in goals.items() if home.right[o, at[o]]]
    unseen = map(explore, _rooms(known, home, home.unseen(visited)))
    return Privileged(tuple(possible or unseen), bad=tuple(bad))


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

    def candidates(self, caption: str) -> tuple[str, ...]:
        """What could be done: holding an object, place it in each receptacle seen; else pick up each object seen; explore
        each room known and not seen.
        """
        seen, lying, held, _, unseen = self._read(caption)
        if held:
            possible = [put(held.thing, self._where[place]) for place in seen]
        else:
            possible = [pick_up(s.thing, self._place[s.where]) for s in lying]
        return (*possible, *map(explore, unseen))

    def statements(self, caption: str) -> tuple[Statement, ...]:
        """That objects belong where they lie, lay or were put, and that the held one belongs in each receptacle seen."""
        seen, lying, held, were_put, _ = self._read(caption)
        if not held:
            return (*lying, *were_put)
        return (held, *(Statement(held.thing, self._where[place]) for place in seen), *were_put)

    def goals(self, caption: str, judge: Callable[[Statement], bool | None]) -> tuple[str, ...]:
        """The goals of somebody who judges so: the rules of :func:`oracle`. Nothing to explore while there are judgements
        that are not known yet (None): they may give a goal.
        """
        seen, lying, held, were_put, unseen = self._read(caption)
        unknown = False

        def right(one: Statement) -> bool | None:
            nonlocal unknown
            answer = judge(one)
            unknown |= answer is None
            return answer

        if held:
            done = any(s.thing == held.thing and right(s) for s in were_put)
            wanted = not done and right(held) is False
            there = [self._where[place] for place in seen] if wanted else []
            goals = [put(held.thing, where) for where in there if right(Statement(held.thing, where))]
        else:
            moved = {s.thing for s in were_put}
            wrong = [s for s in lying if s.thing not in moved and right(s) is False]
            goals = [pick_up(s.thing, self._place[s.where]) for s in wrong]
        return tuple(goals or map(explore, () if unknown else unseen))

    def _read(
        self, caption: str
    ) -> tuple[list[str], list[Statement], Statement | None, list[Statement], list[str]]:
        """Receptacles seen; objects and where they lie; the held one and where it lay at first; what was put where; rooms
        in which the player has not been.
        """
        seen: list[str] = []
        unseen: list[str] = []
        lying, were_put, held = [], [], None
        for sentence in caption.rstrip(".").split(". "):
            if sentence.startswith(_SEEN):
                seen = [place for place in sentence[len(_SEEN) :].split(", ") if place in self._where]
            elif sentence.startswith(_UNSEEN):
                unseen = [room for room in sentence[len(_UNSEEN) :].split(", ") if room in self._rooms]
            elif sentence.startswith(_PUT):
                were_put += self._split(sentence[len(_PUT) :], " ")
            elif sentence.startswith(_HOLD):
                thing, _, place = sentence[len(_HOLD) :].rpartition(" from ")
                held = Statement(thing, self._where[place]) if place in self._where else None
            else:
                lying += self._split(sentence, " is ")
        return seen, lying, held, were_put, unseen

    def _split(self, text: str, between: str) -> list[Statement]:
        """The object and the place of a sentence; nothing if there is no such place."""
        for match in re.finditer(f"{between}(?=(in|on) )", text):
            if text[match.end() :] in self._place:
                return [Statement(text[: match.start()], text[match.end() :])]
        return []


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
