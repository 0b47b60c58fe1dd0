"""Tests of what reads figures and judges them. `./dev check` runs them."""

import argparse
import contextlib
import io
import math
import unittest
from collections import Counter
from pathlib import Path

import compare
from rig import command, figures, pgbench, report, trial, verdict, watch, wire
from rig.process import Failed
from rig.verdict import BASE, ONE, TWO, Measured, Sample

REPORT = """pgbench (15.20)
transaction type: <builtin: select only>
number of clients: 64
number of transactions actually processed: 104215
number of failed transactions: 3 (0.003%)
latency average = 3.067 ms
initial connection time = 61.6 ms
tps = 20867.114310 (without initial connection time)
"""


class Pgbench(unittest.TestCase):
    def test_report(self):
        self.assertEqual(pgbench.parse_report(REPORT), (104215, 3, 20867.11431, 3.067))
        older = "\n".join(line for line in REPORT.splitlines() if "failed" not in line)
        self.assertEqual(pgbench.parse_report(older)[1], 0)
        nothing = pgbench.parse_report("number of transactions actually processed: 0\n")
        self.assertEqual(nothing[:2], (0, 0))
        self.assertTrue(math.isnan(nothing[2]) and math.isnan(nothing[3]))
        with self.assertRaises(ValueError):
            pgbench.parse_report("pgbench: error: connection refused")

    def test_progress(self):
        line = "progress: 2.0 s, 7104.5 tps, lat 14.038 ms stddev 5.131, 0 failed\n"
        self.assertEqual(pgbench.parse_progress(line), (2.0, 7104.5, 14.038))
        self.assertIsNone(pgbench.parse_progress("pgbench: error: client 3 aborted"))

    def test_percentile_is_the_nearest_rank(self):
        self.assertEqual(pgbench.percentile(list(range(1, 101)), 0.99), 99)
        self.assertEqual(pgbench.percentile([7], 0.99), 7)
        self.assertTrue(math.isnan(pgbench.percentile([], 0.99)))

    def test_an_aborted_client_is_a_failed_transaction(self):
        said = ["pgbench: error: client 3 aborted in command 1: FATAL query_wait_timeout\n", "something else\n"]
        outcome = pgbench._outcome(2, REPORT, said, [100, 200])
        self.assertEqual(outcome.failed, 4)
        self.assertIn("query_wait_timeout", outcome.complaint)
        self.assertEqual(outcome.latency_max_ms, 0.2)

    def test_no_report_is_a_failure_with_its_reason(self):
        outcome = pgbench._outcome(1, "", ["pgbench: error: connection refused\n"], [])
        self.assertEqual((outcome.failed, outcome.complaint), (1, "pgbench: error: connection refused"))


class Trial(unittest.TestCase):
    def trial(self, **changes):
        outcome = pgbench.Outcome(1000, changes.pop("failed", 0), 10.0, 1.0, 2.0, 3.0)
        values = {"protocol": "simple", "sessions_most": 10, "wait_longest_ms": 1.0, "unwatched": None, **changes}
        return trial.Trial(outcome=outcome, **values)

    def test_only_a_clean_trial_has_no_problems(self):
        self.assertEqual(self.trial().problems(cap=10), [])
        for broken in (self.trial(failed=1), self.trial(sessions_most=11), self.trial(unwatched="gone")):
            self.assertEqual(len(broken.problems(cap=10)), 1)

    def test_the_table_has_a_line_for_each(self):
        self.assertIn("10 of 10", trial.show([self.trial()], 10).splitlines()[2])


class Command(unittest.TestCase):
    def test_numbers_that_are_too_small_or_none_are_refused(self):
        number = command.at_least(5)
        self.assertEqual(number("5"), 5)
        for text in ("4", "x", "-5", "5.0", ""):
            with self.assertRaises(argparse.ArgumentTypeError):
                number(text)

    def test_what_cannot_be_done_has_a_status(self):
        def refuse():
            raise Failed("no")

        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual((command.status_of(refuse), command.status_of(lambda: 0)), (1, 0))
        self.assertEqual(said.getvalue(), "\nno\n")


class Figures(unittest.TestCase):
    def test_strace_with_and_without_errors(self):
        table = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 40.00    0.010000           2      4008           recvfrom
 30.00    0.010000           2      4006         3 sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.020000           2      8014         3 total
"""
        self.assertEqual(figures.parse_strace(table), {"recvfrom": 4008, "sendto": 4006})

    def test_our_own_process_has_figures(self):
        self.assertGreater(figures.pss_bytes(figures.os.getpid()), 1 << 20)
        self.assertEqual(len(figures.cpu_s(figures.os.getpid())), 2)


class Verdict(unittest.TestCase):
    def measured(self):
        measured = Measured(system_calls_over=1000)
        for side, tps, cpu in ((BASE, 100.0, 20.0), (ONE, 110.0, 17.0), (TWO, 120.0, 19.0)):
            for workload in verdict.WORKLOADS:
                if (side, workload[0]) != (BASE, "prepared"):
                    measured.samples[side][workload] = [Sample(tps, 2.0, cpu - 2.0, 5.0, 0)] * 3
            measured.system_calls[side] = Counter(recvfrom=2001, sendto=2020, write=7, epoll_wait=2000)
            measured.idle_bytes[side] = 900.0
        return measured

    def test_targets_are_met_or_not(self):
        met = {target.what: target.met for target in verdict.targets(self.measured())}
        self.assertTrue(met[f"CPU per transaction, simple, 64 clients, {ONE}"])
        self.assertTrue(met[f"transactions/s, extended, 64 clients, {ONE}"])
        self.assertFalse(met[f"transactions/s, extended, 64 clients, {TWO}"])
        self.assertTrue(met[f"receives per simple query, {ONE}"])
        self.assertFalse(met[f"sends per simple query, {ONE}"])

    def test_what_was_not_measured_is_not_met(self):
        self.assertEqual({target.met for target in verdict.targets(Measured())}, {None})

    def test_failed_runs_are_named(self):
        measured = self.measured()
        measured.samples[ONE][("simple", 64)] = [Sample(1.0, 1.0, 1.0, 1.0, 7)]
        self.assertEqual(measured.failed(), [f"{ONE}, simple, 64 clients: 7 transactions failed"])

    def test_tables_have_every_side_and_no_prepared_line_for_pgbouncer(self):
        text = verdict.tables(self.measured())
        self.assertIn(f"| simple, 64 | {BASE} |", text)
        self.assertIn(f"| prepared, 64 | {TWO} |", text)
        self.assertNotIn(f"| prepared, 64 | {BASE} |", text)


class Page(unittest.TestCase):
    def test_tables_go_between_the_marks(self):
        page = f"a\n{compare.BEGIN}\nold\n{compare.END}\nb\n"
        self.assertEqual(compare.with_tables(page, "new"), f"a\n{compare.BEGIN}\nnew\n{compare.END}\nb\n")
        with self.assertRaises(Failed):
            compare.with_tables("a page without marks", "new")

    def test_the_readme_has_the_marks(self):
        page = (Path(__file__).parent.parent / compare.README).read_text(encoding="utf-8")
        self.assertIn("new", compare.with_tables(page, "new"))


class Small(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual(report.number(1234.5, 1, " ms"), "1,234.5 ms")
        self.assertEqual(report.number(math.nan), "-")
        self.assertEqual(report.number(None), "-")

    def test_oldest_wait(self):
        rows = [{"maxwait": "1", "maxwait_us": "500"}, {"maxwait": "0", "maxwait_us": "7"}]
        self.assertEqual(watch._oldest_wait_ms(rows), 1000.5)

    def test_error_text(self):
        body = b"SFATAL\0C53300\0Mtoo many\0Hwait\0\0"
        self.assertEqual(wire.error_text(body), "FATAL 53300: too many (wait)")


if __name__ == "__main__":
    unittest.main()
