"""Organizations, persons, deals, stages and pipelines: list, read, create, change, delete, merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ml_connector.sandbox.pipedrive.body import Change
from ml_connector.sandbox.pipedrive.company import Company, copied, now_text
from ml_connector.sandbox.pipedrive.errors import ApiError, invalid
from ml_connector.sandbox.pipedrive.members import EXTRA, MEMBERS, Item
from ml_connector.sandbox.pipedrive.pages import CursorClock, page
from ml_connector.sandbox.web import Reply, Request, json_reply

MAX_IDS: Final = 100
MAX_CUSTOM_FIELDS: Final = 15
_EQUAL: Final = ("owner_id", "org_id", "person_id", "pipeline_id", "stage_id")
_REFERENCES: Final = {"org_id": "organization", "person_id": "person", "stage_id": "stage", "pipeline_id": "pipeline"}


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of one kind; `changed` hears of every change, which becomes webhooks."""

    company: Company
    entity: str
    request: Request
    changed: Callable[[Change], None]

    # -- read --------------------------------------------------------------------------------------------------------

    def show_list(self, *, archived: bool = False) -> Reply:
        query = self.request.query
        rows = [item for item in self._chosen() if bool(item.get("is_archived")) is archived]
        for name in _EQUAL:
            if name in query:
                rows = [item for item in rows if str(item.get(name)) == query[name]]
        if "updated_since" in query:
            rows = [item for item in rows if item["update_time"] >= query["updated_since"]]
        if "updated_until" in query:
            rows = [item for item in rows if item["update_time"] < query["updated_until"]]
        key = query.get("sort_by", "id")
        descending = query.get("sort_direction") == "desc"
        clock = CursorClock(self.company.clock.now_s(), self.company.terms.cursor_lives_s)
        return page(self.request, rows, key=key, descending=descending, show=self._shown, clock=clock)

    def _chosen(self) -> list[Item]:
        """By id also deleted ones; deals by status `deleted`; by the company's terms in `updated_since` lists."""
        query, items = self.request.query, self.company.items[self.entity]
        if "ids" in query:
            wanted = [number(text) for text in query["ids"].split(",") if text]
            if len(wanted) > MAX_IDS:
                raise invalid(f"ids has at most {MAX_IDS}")
            return [items[one] for one in wanted if one in items]
        statuses = set(query.get("status", "").split(",")) - {""}
        if statuses and self.entity == "deal":
            return [item for item in items.values() if _status(item) in statuses]
        with_deleted = self.company.terms.deleted_in_lists and "updated_since" in query
        return list(items.values()) if with_deleted else list(self.company.living(self.entity))

    def read(self, text: str) -> Reply:
        return _ok(self._shown(self._find(text)))

    def _find(self, text: str) -> Item:
        """Deleted objects are still there, marked."""
        found = self.company.items[self.entity].get(number(text))
        if found is None:
            raise ApiError(404, f"{self.entity.capitalize()} not found")
        return found

    def _shown(self, item: Item) -> Item:
        query = self.request.query
        shown = dict(item)
        for name in filter(None, query.get("include_fields", "").split(",")):
            shown.setdefault(name, 0 if name.endswith("_count") else None)
        custom = item.get("custom_fields")
        if custom is not None and query.get("custom_fields"):
            codes = query["custom_fields"].split(",")
            if len(codes) > MAX_CUSTOM_FIELDS:
                raise invalid(f"custom_fields has at most {MAX_CUSTOM_FIELDS} keys")
            shown["custom_fields"] = {code: custom[code] for code in codes if code in custom}
        if custom is not None and query.get("include_option_labels") == "true":
            shown["custom_fields"] = {c: self._labelled(c, v) for c, v in shown["custom_fields"].items()}
        if query.get("include_labels") == "true" and "label_ids" in item:
            shown["labels"] = [{"id": one, "label": f"Label {one}"} for one in item["label_ids"] or []]
        return shown

    def _labelled(self, code: str, value: Any) -> Any:
        definition = self.company.definition(self.entity, code) or {}
        labels = {option["id"]: option["label"] for option in definition.get("options") or []}
        if isinstance(value, list):
            return [{"id": one, "label": labels.get(one)} for one in value]
        return {"id": value, "label": labels[value]} if value in labels else value

    # -- write -------------------------------------------------------------------------------------------------------

    def create(self, body: Mapping[str, Any]) -> Reply:
        blank: Item = {
            **copied(MEMBERS[self.entity]),
            "custom_fields": dict.fromkeys(self.company.custom_codes(self.entity))
            if self.entity in self.company.definitions
            else {},
        }
        self._apply(blank, body)
        if self.entity not in self.company.definitions:
            del blank["custom_fields"]
        if self.entity in {"stage", "pipeline"}:
            blank["order_nr"] = 1 + sum(1 for _ in self.company.living(self.entity))
        item = self.company.add(self.entity, blank)
        self.changed(Change("create", self.entity, item["id"], None, copied(item), at=self.company.clock.now()))
        return _ok(self._shown(item))

    def update(self, text: str, body: Mapping[str, Any]) -> Reply:
        item = self._find(text)
        if item["is_deleted"] and body.get("is_deleted") is not False:
            raise ApiError(404, f"{self.entity.capitalize()} not found")
        before, after = copied(item), copied(item)
        self._apply(after, body)
        after["update_time"] = now_text(self.company.clock)
        item.update(after)
        self.changed(Change("change", self.entity, item["id"], before, copied(item), at=self.company.clock.now()))
        return _ok(self._shown(item))

    def delete(self, text: str) -> Reply:
        item = self._find(text)
        if item["is_deleted"]:
            raise ApiError(404, f"{self.entity.capitalize()} not found")
        before = copied(item)
        item["is_deleted"] = True
        item["update_time"] = now_text(self.company.clock)
        self.changed(Change("delete", self.entity, item["id"], before, None, at=self.company.clock.now()))
        return _ok({"id": item["id"]})

    def merge(self, loser_text: str, winner_id: Any) -> Reply:
        """Two events: `delete` of the loser with merged_to_id, `change` of the winner with merged_from_id."""
        loser, winner = self._find(loser_text), self._find(str(winner_id))
        if loser is winner or loser["is_deleted"] or winner["is_deleted"]:
            raise invalid("merge_with_id must be another object that is not deleted")
        before_loser, before_winner = copied(loser), copied(winner)
        loser["is_deleted"] = True
        loser["update_time"] = winner["update_time"] = now_text(self.company.clock)
        self._join(loser, winner)
        now = self.company.clock.now()
        self.company.merges[self.entity, loser["id"]] = winner["id"]
        gone = Change("delete", self.entity, loser["id"], before_loser, None, merged_to=winner["id"], at=now)
        won = Change(
            "change", self.entity, winner["id"], before_winner, copied(winner), merged_from=loser["id"], at=now
        )
        self.changed(gone)
        self.changed(won)
        return _ok(winner)

    def _join(self, loser: Item, winner: Item) -> None:
        """Texts of both are joined, empty fields filled, and what belonged to the loser belongs to the winner."""
        for code, value in loser.get("custom_fields", {}).items():
            kept = winner["custom_fields"].get(code)
            kind = (self.company.definition(self.entity, code) or {}).get("field_type")
            if kept is None:
                winner["custom_fields"][code] = value
            elif value is not None and value != kept and kind in {"varchar", "text"}:
                winner["custom_fields"][code] = f"{kept}, {value}"
        member = {"organization": "org_id", "person": "person_id"}.get(self.entity)
        for other in ("person", "deal"):
            for item in self.company.items[other].values():
                if member is not None and item.get(member) == loser["id"]:
                    item[member] = winner["id"]

    def _apply(self, item: Item, body: Mapping[str, Any]) -> None:
        for name, value in body.items():
            if name == "custom_fields":
                self._apply_custom(item, value or {})
            elif name in MEMBERS[self.entity] or name in EXTRA.get(self.entity, ()) or name in _MARKS:
                item[name] = value
            else:
                raise invalid(f"{name} is not a member of {self.entity}")
        for name, entity in _REFERENCES.items():
            if body.get(name) is not None and body[name] not in self.company.items[entity]:
                raise invalid(f"{name} names no {entity}")
        if self.entity == "person":
            _name_person(item, body)
        if self.entity == "deal":
            self._move_deal(item, body)

    def _apply_custom(self, item: Item, values: Mapping[str, Any]) -> None:
        for code, value in values.items():
            definition = self.company.definition(self.entity, code)
            if definition is None:  # a deleted field is ignored ("Custom fields" page)
                continue
            if value == [] and definition["field_type"] == "set":
                raise invalid(f"{code}: clear a set with null")
            item["custom_fields"] = {**item["custom_fields"], code: value}

    def _move_deal(self, item: Item, body: Mapping[str, Any]) -> None:
        """Status, close times and pipeline move together."""
        now = now_text(self.company.clock)
        if body.get("stage_id") is not None:
            item["pipeline_id"] = self.company.items["stage"][item["stage_id"]]["pipeline_id"]
            item["stage_change_time"] = now
        if "status" in body:
            if item["status"] not in {"open", "won", "lost"}:
                raise invalid("status is open, won or lost")
            item["close_time"] = now if item["status"] != "open" else None
            item["won_time"] = now if item["status"] == "won" else None
            item["first_won_time"] = item["first_won_time"] or item["won_time"]
            item["lost_time"] = now if item["status"] == "lost" else None
            if item["status"] != "lost":
                item["lost_reason"] = None
        if body.get("is_archived") and not item["archive_time"]:
            item["archive_time"] = now


_MARKS: Final = frozenset({"add_time", "is_deleted"})


def _ok(data: Any) -> Reply:
    return json_reply(200, {"success": True, "data": data})


def _status(item: Item) -> str:
    return "deleted" if item["is_deleted"] else str(item["status"])


def _name_person(item: Item, body: Mapping[str, Any]) -> None:
    if "name" in body and "first_name" not in body:
        first, _, last = str(item["name"] or "").partition(" ")
        item["first_name"], item["last_name"] = first or None, last or None


def number(value: Any) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise invalid("an id is an integer") from None
