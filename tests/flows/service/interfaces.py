"""Prefect's two web interfaces, as a person uses them: what differs between V1 and V2."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Response

BUSY = 503


class Interface(ABC):
    """What a person does in a browser, in words that hold for both interfaces."""

    base: ClassVar[str]
    """Where the server shows it."""
    corpus: ClassVar[str]
    """A corpus that is not scored, for its tests alone."""
    may_tell_switches: ClassVar[bool]
    """Whether an automation that it saves tells a run that every switch of its form is off."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, path: str) -> None:
        """Go to a page by its path, which both interfaces have below their own."""
        self.page.goto(self.base + path)

    def open_run_form(self, deployment: str) -> None:
        self.open("/deployments?limit=100")
        links = self.page.locator("a[href*='/deployments/deployment/']")  # not those of the flow
        links.filter(has_text=re.compile(f"^\\s*{deployment}\\s*$")).click()
        self.button("Run").click()
        self.page.get_by_text("Custom run").click()

    def start(self, deployment: str, **fields: str) -> None:
        """Fill in a deployment's form, submit it, and go to the run."""
        self.open_run_form(deployment)
        self.fill(**fields)
        self.submit()
        self.follow()
        self._await_run()

    def open_run(self, name: str) -> None:
        """Go to the last run of a name, once there is one."""
        link = self.page.get_by_role("link", name=name, exact=True).first
        self.open("/runs")
        link.click()
        self._await_run()

    def _await_run(self) -> None:
        """Wait until the page shows a run, in place of a list of runs and their states."""
        self.page.wait_for_url("**/runs/flow-run/*")
        expect(self.page.get_by_text("Artifacts", exact=True).first).to_be_visible()

    def fill(self, **fields: str) -> None:
        """Fill in fields of a run form, by their names there; of a list, its first item."""
        for name, value in fields.items():
            self.named(name).fill(value)

    def named(self, name: str) -> Locator:
        """A field of a run form."""
        words = name.removesuffix("_s").capitalize().replace("_", " ")
        unit = r" \[s\]" if name.endswith("_s") else ""
        return self.field(re.compile(rf"^{words}{unit}( \(Optional\))?$"))

    @abstractmethod
    def field(self, title: re.Pattern[str]) -> Locator:
        """Where the value of a field of a form goes."""

    def submit(self) -> None:
        self.insist("/create_flow_run", self.button("Submit"))

    @abstractmethod
    def submit_too_small(self, name: str, value: int, least: int) -> None:
        """Submit a value below the least that there may be, and see that told."""

    @abstractmethod
    def follow(self) -> None:
        """Go to the run that was just submitted, as :meth:`_await_run` sees."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel the run that the page shows."""

    @abstractmethod
    def retry(self) -> None:
        """Have the run that the page shows begin again."""

    @abstractmethod
    def wait_for_state(self, name: str) -> None:
        """Wait until the run that the page shows is in a state."""

    @abstractmethod
    def open_tab(self, name: str) -> None:
        """Open a tab of a page."""

    def artifact(self, key: str) -> Locator:
        """The card of an artifact, on the tab of them."""
        return self.page.get_by_role("link").filter(has_text=key).first

    @abstractmethod
    def look_again(self) -> None:
        """Have the artifacts of a run as they are now."""

    @abstractmethod
    def open_artifact(self, key: str) -> None:
        """Open an artifact of the run that the page shows."""

    @abstractmethod
    def follow_link(self, name: str) -> Page:
        """The page that a link of a report leads to."""

    @abstractmethod
    def sounds(self) -> Page:
        """The page with the players of a report that is open."""

    def describe_automation(self, automation: object, description: str) -> None:
        """Go through all steps of editing an automation, and save it with another description."""
        self.open(f"/automations/automation/{automation}/edit")
        self.button("Next").click()
        expect(self.page.get_by_text("Action 1")).to_be_visible()
        self.button("Next").click()
        self.page.get_by_label("Description (Optional)", exact=True).fill(description)
        self.insist(f"/automations/{automation}", self.button("Save"))

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def insist(self, address: str, *buttons: Locator) -> None:
        """Click, and again as long as the server says that its database is busy."""

        def answers(told: Response) -> bool:
            return told.request.method != "GET" and told.url.endswith(address)

        status = BUSY
        while status == BUSY:
            with self.page.expect_response(answers) as answer:
                for button in buttons:
                    button.click()
            status = answer.value.status


class V1(Interface):
    """The interface that Prefect 3 began with."""

    base = ""
    corpus = "second"
    may_tell_switches = True

    def field(self, title: re.Pattern[str]) -> Locator:
        title_of = self.page.get_by_text(title)
        property_of = self.page.locator(".schema-form-property").filter(has=title_of).last
        return property_of.locator("input, textarea").first

    def submit_too_small(self, name: str, value: int, least: int) -> None:
        self.submit()
        told = f"'parameters.{name}'. Failure reason: {value} is less than the minimum of {least}"
        expect(self.page.get_by_text(told).last).to_be_visible()

    def follow(self) -> None:
        self.page.wait_for_url("**/deployments/deployment/*?tab=Runs")
        self.button("View run").last.click()

    def cancel(self) -> None:
        self._confirm("Cancel", "Confirm")

    def retry(self) -> None:
        self._confirm("Retry", "Retry")

    def _confirm(self, action: str, confirmation: str) -> None:
        dialog = self.page.get_by_role("dialog")
        answer = dialog.get_by_role("button", name=confirmation, exact=True)
        self.insist("/set_state", self.button(action), answer)

    def wait_for_state(self, name: str) -> None:
        expect(self.page.locator(".state-badge").first).to_have_text(name)

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("listitem").filter(has_text=re.compile(f"^{name}$")).click()

    def look_again(self) -> None:
        # the page asks again by itself
        self.page.wait_for_event("response", lambda answer: "artifacts/filter" in answer.url)

    def open_artifact(self, key: str) -> None:
        self.open_tab("Artifacts")
        self.artifact(key).click()

    def follow_link(self, name: str) -> Page:
        with self.page.expect_popup() as opened:
            self.page.get_by_role("link", name=name).click()
        return opened.value

    def sounds(self) -> Page:
        return self.page


class V2(Interface):
    """The new one, which opens unless a browser chose the other."""

    base = "/v2"
    corpus = "third"
    may_tell_switches = False

    def field(self, title: re.Pattern[str]) -> Locator:
        title_of = self.page.get_by_text(title)
        return title_of.locator("xpath=following::*[self::input or self::textarea]").first

    def submit_too_small(self, name: str, value: int, least: int) -> None:
        # the browser knows the bounds, and asks nobody, and takes one to the field
        self.button("Submit").click()
        field = self.named(name)
        expect(field).to_be_focused()
        expect(field).to_have_value(str(value))
        told = field.evaluate("field => field.validationMessage")
        assert told == f"Value must be greater than or equal to {least}."

    def follow(self) -> None:
        self.page.get_by_role("link", name="View run").last.click()

    def cancel(self) -> None:
        self._confirm("Cancel", "Cancel Flow Run")

    def retry(self) -> None:
        self._confirm("Retry", "Retry")

    def _confirm(self, action: str, confirmation: str) -> None:
        item = self.page.get_by_role("menuitem", name=action, exact=True)
        dialog = self.page.get_by_role("alertdialog")
        answer = dialog.get_by_role("button", name=confirmation, exact=True)
        self.insist("/set_state", self.button("Open menu"), item, answer)

    def wait_for_state(self, name: str) -> None:
        badge = self.page.locator("main").get_by_text(name, exact=True)
        expect(badge.first).to_be_visible()

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def look_again(self) -> None:
        with self.page.expect_response(lambda answer: "artifacts/filter" in answer.url):
            self.page.reload()

    def open_artifact(self, key: str) -> None:
        self.open_tab("Artifacts")
        self.look_again()
        self.artifact(key).click()
        # all that there were of the key, newest first
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()

    def follow_link(self, name: str) -> Page:
        self.page.get_by_role("link", name=name).click()
        return self.page

    def sounds(self) -> Page:
        assert not self.page.locator("audio").count()
        return self.follow_link("This report as a page")


INTERFACES = (V1, V2)
