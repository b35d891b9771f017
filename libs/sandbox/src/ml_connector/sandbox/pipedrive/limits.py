"""How much a company may ask (facts/pipedrive.md section 10): a burst limit for each token in any two seconds, a daily
token budget for the whole company, and a wall for those who do not stop at 429."""

from __future__ import annotations

from collections import deque
from typing import Final

from ml_connector.sandbox.pipedrive.company import Company
from ml_connector.sandbox.pipedrive.errors import ApiError
from ml_connector.sandbox.web import Reply, Request

WINDOW_S: Final = 2.0
DAILY_TOKENS: Final = 30_000  # times the plan's multiplier, times the seats
MULTIPLIER: Final = {"lite": 1, "growth": 2, "premium": 5, "ultimate": 7}
BURST: Final = {
    "api_token": {"lite": 20, "growth": 40, "premium": 100, "ultimate": 120},
    "oauth": {"lite": 80, "growth": 160, "premium": 400, "ultimate": 480},
}
HAMMERING: Final = 200  # refusals in a row, without one request that was good
_WALL: Final = (
    b"<!DOCTYPE html><html><head><title>Access denied | Cloudflare</title></head><body>Error 1015</body></html>"
)


def take(company: Company, request: Request, token: str, *, oauth: bool, cost: int) -> dict[str, str] | Reply:
    """Headers of the answer, or the refusal."""
    plan = company.terms.plan
    if plan == "unlimited":
        company.usage.tokens_spent += cost
        return {}
    now_s, limit = company.clock.now_s(), BURST["oauth" if oauth else "api_token"][plan]
    window = company.usage.windows.setdefault(token, deque())
    while window and window[0] <= now_s - WINDOW_S:
        window.popleft()
    headers = {"x-ratelimit-limit": str(limit)}
    if len(window) >= limit:
        reset_s = int(window[0] + WINDOW_S - now_s) + 1
        return _refused(company, {**headers, "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset_s)})
    window.append(now_s)
    headers |= {"x-ratelimit-remaining": str(limit - len(window)), "x-ratelimit-reset": str(int(WINDOW_S))}
    budget = DAILY_TOKENS * MULTIPLIER[plan] * company.terms.seats
    today = company.clock.now().date().isoformat()
    if company.usage.day != today:
        company.usage.day, company.usage.tokens_today = today, 0
    if company.usage.tokens_today + cost > budget:
        return _refused(company, headers)
    company.usage.tokens_today += cost
    company.usage.tokens_spent += cost
    company.usage.refusals = 0
    if not oauth and request.method in {"POST", "PUT"}:
        headers["x-daily-requests-left"] = str((budget - company.usage.tokens_today) // 5)
    return headers


def _refused(company: Company, headers: dict[str, str]) -> Reply:
    company.usage.refusals += 1
    if company.usage.refusals > HAMMERING:
        return Reply(403, _WALL, {"content-type": "text/html; charset=UTF-8"})
    if company.terms.retry_after:
        headers = {**headers, "retry-after": headers.get("x-ratelimit-reset", "3600")}
    return ApiError(429, "request over limit", headers=headers).reply()
