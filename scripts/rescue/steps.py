"""The steps of a rollback, and the same way back. Each looks first what is done already."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Protocol

from scripts.rescue import code as deployments
from scripts.rescue import exposure
from scripts.rescue import record as records
from scripts.rescue.exposure import Desk
from scripts.rescue.installation import is_off, write_variable
from scripts.rescue.plan import Plan
from scripts.rescue.record import Record
from scripts.rescue.run import CommandFailed, run
from scripts.rescue.service import application_environ
from scripts.rescue.statuses import Failed, Status
from scripts.rescue.store import StoreFailed
from scripts.rescue.verify import Offer, Probe, errors_since
from utils.envfile import read_plain

_PAUSE = 0.5
_RESTORE_SECONDS = 600.0
_NOT_IMPORTED = 3  # how restore_database.sh says that the database is back, but not the orders


class Ask(Protocol):
    """A question to the operator."""

    def __call__(self, question: str, *, offer: bool = False) -> bool:
        """Whether they said yes."""


class Rollback:
    """Takes the broker out. `root` holds the script, which is kept with the record."""

    def __init__(self, plan: Plan, ask: Ask, root: Path) -> None:
        self._plan = plan
        self._ask = ask
        self._root = root

    def run(self, only: int | None) -> Status:
        """All steps, or one of them; `Failed` at the first that does not succeed."""
        plan = self._plan
        began = time.monotonic()
        record = self._record()
        for line in plan.lines(record):
            record.log(line)
        with record.failures():
            return self._steps(record, only, began)

    def _steps(self, record: Record, only: int | None, began: float) -> Status:
        plan = self._plan
        desk = plan.desk(plan.known_target(record))
        cancel = close = False
        if only in (None, 0):
            cancel, close = self._look(record, desk)
        if only == 0:
            return Status.OK
        if not self._ask("Go on?"):
            record.log("Declined.")
            return Status.DECLINED
        if only in (None, 1):
            _disable(plan, record)
            self._end(record, desk, cancel=cancel, close=close)
        if only in (None, 2):
            self._remove_symbols(record)
        if only in (None, 3):
            _exchange(plan, record, plan.target(record))
        if only in (None, 4):
            self._verify(record)
        record.log(f"Done in {time.monotonic() - began:.0f} s. The record: {record.folder}")
        record.log(f"To take it back: {record.folder}/tool/scripts/rollback.sh --undo"
                   f"{_where(plan)}")
        return Status.OK

    def _record(self) -> Record:
        """The rollback that is in force, if it is this one; else a new one."""
        plan = self._plan
        found = records.in_force(plan.installation.state)
        if found is not None and found.facts.broker == plan.broker:
            facts = found.facts
            if not facts.code_to or plan.code.current() in (facts.code_from, facts.code_to):
                found.log(f"Going on with the rollback of {facts.began}.")
                return found
        return records.begin(plan.installation.state, plan.broker, self._root)

    # Step 0 --------------------------------------------------------------------------------------

    def _look(self, record: Record, desk: Desk) -> tuple[bool, bool]:
        """List and record what is at stake; whether to cancel, and whether to close."""
        plan = self._plan
        record.log("Step 0: working orders and open positions")
        found = exposure.look(desk, plan.store, plan.broker)
        record.keep(f"exposure-{records.now().replace(':', '')}.json", asdict(found))
        for line in exposure.lines(found):
            record.log(line)
        if not record.facts.connected_before:
            if found.brokers is None:
                record.log("NOT KNOWN: which of the other brokers are connected")
            others = {**(found.brokers or {})}
            others.pop(plan.broker, None)
            record.facts.connected_before = others
            record.save()
        unknown = bool(found.unread)
        if (found.positions or unknown) and self._removes_symbols():
            record.log("NOTE: without the symbols (step 2) a position can be closed only at the "
                       "broker's own terminal.")
            record.log("      --square-off closes them first; --keep-symbols lets traders close "
                       "them here.")
        cancel, close = bool(plan.options.cancel_orders), bool(plan.options.square_off)
        if (found.orders or unknown) and not cancel:
            cancel = self._ask("Cancel the working orders?", offer=True)
        if (found.positions or unknown) and not close:
            close = self._ask("Close the open positions at the market?", offer=True)
        return cancel, close

    def _removes_symbols(self) -> bool:
        options = self._plan.options
        return not options.keep_symbols and not options.square_off and options.step in (None, 0, 2)

    def _end(self, record: Record, desk: Desk, *, cancel: bool, close: bool) -> None:
        """Cancel and close, where that was wanted; after step 1, so that nothing new comes."""
        wanted = [name for name, is_wanted in (("--orders", cancel), ("--positions", close))
                  if is_wanted]
        if not wanted:
            return
        statuses = {"cancel-orders": Status.ORDERS_LEFT, "square-off": Status.POSITIONS_LEFT}
        try:
            told = desk.ask("exposure", "end", "--broker", self._plan.broker, *wanted)
        except CommandFailed as error:
            status = Status.ORDERS_LEFT if cancel else Status.POSITIONS_LEFT
            raise Failed(status, str(error)) from None
        record.keep("ended.json", told)
        for word, part in told.items():
            for row in part["results"]:
                record.log(f"  {word}: {row['account']} {row['symbol']} {row['quantity']} "
                           f"{row['status']} {row['message']}".rstrip())
        for word, part in told.items():
            if part["problems"]:
                raise Failed(statuses[word], f"{word}: {' '.join(part['problems'])}")

    # Step 2 --------------------------------------------------------------------------------------

    def _remove_symbols(self, record: Record) -> None:
        plan = self._plan
        if plan.options.keep_symbols:
            record.log("Step 2: left out")
            return
        if plan.options.restore_backup:
            self._restore(record, plan.options.restore_backup)
            return
        try:
            taken = plan.store.take_symbols(plan.broker, record.folder)
        except (StoreFailed, OSError) as error:
            raise Failed(Status.SYMBOLS_NOT_REMOVED, str(error)) from None
        if taken:
            record.facts.symbols = taken
            record.save()
        record.log(f"Step 2: {taken} symbols of {plan.broker} removed and saved" if taken
                   else f"Step 2: {plan.broker} has no symbols (done before)")

    def _restore(self, record: Record, name: str) -> None:
        """By the script of the first release that can: the one that serves, or the one before."""
        plan = self._plan
        record.log(f"Step 2: restoring the backup {name}")
        plan.service.stop()
        folders = plan.desk(plan.known_target(record)).folders
        script = Path("scripts") / "restore_database.sh"
        release = next((one for one in folders if (one / script).is_file()), None)
        if release is None:
            raise Failed(Status.BACKUP_NOT_RESTORED, f"No release here has {script}.")
        environ = application_environ(plan.installation)
        python = plan.installation.python(release)
        if python is not None:
            environ["PYTHON"] = str(python)
        command = [str(release / script), name, "--yes", "--env-file",
                   str(plan.installation.env_file)]
        try:
            run(command, seconds=_RESTORE_SECONDS, env=environ, user=plan.installation.user)
        except CommandFailed as error:
            if error.status != _NOT_IMPORTED:
                raise Failed(Status.BACKUP_NOT_RESTORED, str(error)) from None
            record.log(f"  restored, but orders since then were not imported: {error}")
        _disable(plan, record)  # the backup may be older than the switch
        try:
            plan.store.take_symbols(plan.broker, record.folder)
        except StoreFailed as error:
            raise Failed(Status.SYMBOLS_NOT_REMOVED, str(error)) from None

    # Step 4 --------------------------------------------------------------------------------------

    def _verify(self, record: Record) -> None:
        plan = self._plan
        probe = plan.probe(plan.desk())
        probe.await_answer(plan.options.wait)
        offer = probe.look()
        if plan.broker in offer.brokers:
            raise Failed(Status.STILL_LISTED, f"{plan.broker} is still offered.")
        names = ", ".join(sorted(offer.brokers)) or "none"
        record.log(f"Step 4: {plan.broker} is not offered any more; these are: {names}")
        try:
            left = plan.store.count_symbols(plan.broker)
        except StoreFailed as error:
            raise Failed(Status.SYMBOLS_NOT_REMOVED, str(error)) from None
        if left and not plan.options.keep_symbols:
            raise Failed(Status.SYMBOLS_NOT_REMOVED, f"{left} symbols of {plan.broker} are left.")
        _check_others(plan, record, probe, offer)
        _check_logs(plan, record)


class Undo:
    """Takes the last rollback back."""

    def __init__(self, plan: Plan, ask: Ask) -> None:
        self._plan = plan
        self._ask = ask

    def run(self) -> Status:
        """Switches, symbols and code as they were; verified."""
        plan = self._plan
        began = time.monotonic()
        record = records.in_force(plan.installation.state)
        if record is None:
            raise Failed(
                Status.NOTHING_TO_UNDO, f"Looked in {plan.installation.state / 'rollback'}."
            )
        for line in plan.lines(record):
            record.log(line)
        with record.failures():
            if not self._ask("Go on?"):
                return Status.DECLINED
            self._bring_back(record)
        symbols = plan.store.count_symbols(record.facts.broker)
        record.log(f"Undone in {time.monotonic() - began:.0f} s: {record.facts.broker} is offered "
                   f"again, with {symbols} symbols.")
        record.close()
        return Status.OK

    def _bring_back(self, record: Record) -> None:
        plan, facts = self._plan, record.facts
        try:
            if facts.symbols:
                found = plan.store.put_symbols(facts.broker, record.folder)
                record.log(f"{found} symbols of {facts.broker} are there again")
            if facts.switched_in_database:
                plan.store.set_flag(f"broker.{facts.broker}", facts.flag_before)
            if facts.switched_in_file:
                variable = f"{facts.broker.split('_')[0].upper()}_ENABLED"
                write_variable(plan.installation.env_file, variable, facts.variable_before)
        except (StoreFailed, OSError) as error:
            raise Failed(Status.NOT_BROUGHT_BACK, str(error)) from None
        target = facts.code_from if not plan.options.keep_code else ""
        _exchange(plan, record, target or plan.code.current(), forget=True)
        probe = plan.probe(plan.desk())
        probe.await_answer(plan.options.wait)
        offer = probe.look()
        if facts.broker not in offer.brokers:
            raise Failed(Status.NOT_BROUGHT_BACK, f"{facts.broker} is not offered.")
        symbols = plan.store.count_symbols(facts.broker)
        if facts.symbols and not symbols:
            raise Failed(Status.NOT_BROUGHT_BACK, f"{facts.broker} has no symbols.")
        _check_others(plan, record, probe, offer)
        _check_logs(plan, record)


def _disable(plan: Plan, record: Record) -> None:
    """Step 1. One of the two switches is enough to go on; neither is a failure."""
    facts, problems, path = record.facts, [], plan.installation.env_file
    try:
        before = read_plain(path).get(plan.variable)
        if not is_off(before):
            facts.switched_in_file, facts.variable_before = True, before
            record.save()
            write_variable(path, plan.variable, "false")
        record.log(f"Step 1: {plan.variable}=false in {path}")
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    try:
        flag = plan.store.flag(plan.flag)
        if flag != "off":
            if not facts.switched_in_database:
                facts.switched_in_database, facts.flag_before = True, flag
                record.save()
            plan.store.set_flag(plan.flag, "off")
        record.log(f"Step 1: {plan.flag} is off in the database: no entries from now on")
    except StoreFailed as error:
        problems.append(str(error))
    for problem in problems:
        record.log(f"  NOT DONE: {problem}")
    if len(problems) == 2:
        raise Failed(Status.NOT_DISABLED, " ".join(problems))


def _exchange(plan: Plan, record: Record, target: str, *, forget: bool = False) -> None:
    """Step 3: stop, exchange the code, start. `forget`: it is the way back."""
    facts, current = record.facts, plan.code.current()
    if not forget and facts.restarted and current == target and _is_ready(plan):
        record.log(f"Step 3: {target} is served (done before)")
        return
    # A file, not a fact: the release that is returned to may read the facts, and knows no new ones.
    asked = record.folder / "restart-asked-for"
    if forget and plan.service.by_hand and asked.exists() and current == target:
        record.log(f"Step 3: {target} is in its place, and was to be restarted by hand")
        return
    plan.service.stop()
    if not forget and not facts.code_to:
        facts.code_from, facts.code_to = current, target
    facts.restarted = records.now()
    record.save()
    if current != target:
        hint = plan.code.switch(target)
        record.log(f"Step 3: {target} in the place of {current}")
        if hint:
            record.log(f"  {hint}")
        _tell(plan, target, "deployed" if forget else "rolled_back")
    if plan.service.by_hand:
        if forget:
            asked.touch()
        then = "give --undo again" if forget else "run --step 4"
        raise Failed(
            Status.NOT_STARTED,
            f"Nothing here starts the gateway: restart it, then {then} to verify.",
        )
    try:
        plan.service.start()
    except Failed as failure:
        raise Failed(failure.status, f"{failure}{_why(plan)}") from None
    record.log(f"Step 3: {plan.options.service} restarted by {plan.method}")


def _tell(plan: Plan, version: str, outcome: str) -> None:
    """Note what is served now where deployments are listed; that it can't be is no failure."""
    deployments.note(plan.installation.state, version, outcome)
    with suppress(StoreFailed):
        environment = plan.installation.variables.get("ENVIRONMENT", "development")
        plan.store.note_deployment(version, outcome, environment)


def _why(plan: Plan) -> str:
    """What the application itself says against starting: settings at fault stop every release."""
    try:
        plan.desk().call("config", "check")
    except CommandFailed as error:
        return f". `flask config check` says: {error.said}"
    return "; `flask config check` finds no fault"


def _check_others(plan: Plan, record: Record, probe: Probe, offer: Offer) -> None:
    """Every broker that was connected is, and its book can be read; sessions get a moment."""
    deadline = time.monotonic() + float(plan.options.wait)
    while faults := offer.faults(record.facts.connected_before):
        if time.monotonic() > deadline:
            raise Failed(Status.OTHERS_BROKEN, " ".join(faults))
        time.sleep(_PAUSE)
        offer = probe.look()
    works = [name for name, connected in sorted(offer.brokers.items()) if connected]
    record.log(f"Step 4: connected and readable: {', '.join(works) or 'no other broker was'}")


def _check_logs(plan: Plan, record: Record) -> None:
    since = record.facts.restarted or record.facts.began
    moment = datetime.fromisoformat(since.replace("Z", "+00:00"))
    log = plan.installation.log_dir / "error.log"
    errors = errors_since(log, moment)
    if errors:
        raise Failed(
            Status.ERRORS_LOGGED,
            f"{len(errors)} errors in {log} since the start, the first: {errors[0]}",
        )
    record.log(f"Step 4: no error in {log} since {since}")


def _is_ready(plan: Plan) -> bool:
    try:
        plan.probe(plan.desk()).await_answer(0.0)
    except Failed:
        return False
    return True


def _where(plan: Plan) -> str:
    """The options by which a copy of the script finds this installation again."""
    here = plan.installation
    app = here.base or here.app
    return f" --app {app} --env-file {here.env_file} --state {here.state} --method {plan.method}"
