"""Which members objects have, over REST and in webhooks (facts/pipedrive.md sections 11 and 12)."""

from __future__ import annotations

from typing import Any, Final

OWNER_ID: Final = 12415231

Item = dict[str, Any]

# REST v2, in the order of the OpenAPI document; the values are a new object's.
MEMBERS: Final[dict[str, Item]] = {
    "organization": {
        "name": None, "owner_id": OWNER_ID, "visible_to": 3, "address": None, "label_ids": [], "website": None,
        "linkedin": None, "industry": None, "annual_revenue": None, "employee_count": None,
    },
    "person": {
        "name": None, "first_name": None, "last_name": None, "owner_id": OWNER_ID, "org_id": None, "visible_to": 3,
        "emails": [], "phones": [], "label_ids": [], "picture_id": None,
    },
    "deal": {
        "title": None, "owner_id": OWNER_ID, "creator_user_id": OWNER_ID, "person_id": None, "org_id": None,
        "pipeline_id": 1, "stage_id": 1, "value": 0, "currency": "EUR", "stage_change_time": None, "is_archived": False,
        "archive_time": None, "status": "open", "probability": None, "lost_reason": None, "visible_to": 3,
        "close_time": None, "won_time": None, "first_won_time": None, "lost_time": None, "local_won_date": None,
        "local_lost_date": None, "local_close_date": None, "expected_close_date": None, "label_ids": [],
        "origin": "API", "origin_id": None, "channel": None, "channel_id": None, "acv": None, "arr": None, "mrr": None,
        "source_lead_id": None,
    },
    "pipeline": {"name": None, "order_nr": 0, "is_deal_probability_enabled": True},
    "stage": {
        "name": None, "pipeline_id": 1, "order_nr": 0, "deal_probability": 100, "is_deal_rot_enabled": False,
        "days_to_rotten": None,
    },
}  # fmt: skip
# Only with contact sync; kept when they are sent, not shown otherwise.
EXTRA: Final = {"person": ("notes", "im", "birthday", "job_title", "postal_address", "marketing_status")}

# Webhook v2: alphabetical in every official example; then what later real deliveries were seen to add.
WEBHOOK_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    "organization": ("add_time", "address", "country_code", "custom_fields", "id", "label", "name", "owner_id",
                     "picture_id", "update_time", "visible_to", "website", "linkedin", "industry", "annual_revenue",
                     "employee_count"),
    "person": ("add_time", "custom_fields", "emails", "first_name", "id", "label", "last_name", "name", "org_id",
               "owner_id", "phones", "update_time", "visible_to", "label_ids"),
    "deal": ("add_time", "channel", "channel_id", "close_time", "creator_user_id", "currency", "custom_fields",
             "expected_close_date", "first_won_time", "id", "label_ids", "lost_reason", "lost_time", "org_id", "origin",
             "origin_id", "owner_id", "person_id", "pipeline_id", "probability", "stage_change_time", "stage_id",
             "status", "title", "update_time", "value", "visible_to", "won_time", "is_archived", "archive_time"),
    "stage": ("id", "name", "active_flag", "rotten_days", "order_nr", "deal_probability", "rotten_flag", "add_time",
              "pipeline_id", "update_time"),
    "pipeline": ("id", "name", "url_title", "order_nr", "active_flag", "deal_probability", "add_time", "update_time"),
}  # fmt: skip
# The REST name of a member that webhooks call otherwise.
WEBHOOK_NAMES: Final = {
    "rotten_days": "days_to_rotten",
    "rotten_flag": "is_deal_rot_enabled",
    "url_title": "name",
}
