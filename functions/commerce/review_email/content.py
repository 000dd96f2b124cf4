"""What a review e-mail says: subject, HTML and text from the templates here. The same in gives the same out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from commerce.review_email.model import Candidate, Incentive, ReviewEmailSettings, Template
from tradewind.ports import Email
from tradewind.rendering import render

TAG_TENANT, TAG_ORDER, TAG_SEQUENCE = "tenant", "order", "sequence"
_LONGEST_SUBJECT = 150
_SUBJECTS = {
    Template.REQUEST: "How was your order from {store}?",
    Template.REMINDER_1: "A minute for {store}? Your opinion counts",
    Template.REMINDER_2: "Last call: tell {store} what you think",
    Template.PHOTO_REQUEST: "Show us how it looks at home",
    Template.THANK_YOU: "Thank you for your review",
    Template.INCENTIVE: "A thank-you from {store} is waiting for you",
}


@dataclass(frozen=True, slots=True)
class Stationery:
    """What all of a tenant's e-mails share."""

    tenant_id: UUID
    sender: str
    store: str
    shop_domain: str | None
    settings: ReviewEmailSettings
    unsubscribe_url: Callable[[int, int], str]

    def review_url(self, order_id: int) -> str:
        given = self.settings.review_url or f"https://{self.shop_domain}/pages/review?order={{order_id}}"
        return given.replace("{order_id}", str(order_id))


def compose(candidate: Candidate, template: Template, incentive: Incentive | None, own: Stationery) -> Email:
    """The e-mail of one row, as it will be sent."""
    unsubscribe_url = own.unsubscribe_url(candidate.order_id, candidate.sequence)
    subject = _SUBJECTS[template].format(store=own.store)
    if incentive is not None and template is not Template.INCENTIVE:
        subject = f"{subject} ({incentive.percent}% off inside)"
    values = {
        "subject": subject,
        "store": own.store,
        "settings": own.settings,
        "first_name": candidate.first_name or "",
        "order_number": candidate.order_number,
        "items": candidate.items,
        "incentive": incentive,
        "review_url": own.review_url(candidate.order_id),
        "unsubscribe_url": unsubscribe_url,
    }
    return Email(
        sender=own.sender,
        to=candidate.email or "",
        subject=" ".join(subject.split())[:_LONGEST_SUBJECT],
        html=render(__file__, f"{template}.html", values),
        text=render(__file__, f"{template}.txt", values),
        reply_to=own.settings.reply_to,
        headers={
            "List-Unsubscribe": f"<{unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        tags={
            TAG_TENANT: str(own.tenant_id),
            TAG_ORDER: str(candidate.order_id),
            TAG_SEQUENCE: str(candidate.sequence),
        },
    )
