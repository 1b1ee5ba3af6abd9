package labhost_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/guests/watchdog"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// consoleDir is where guests/watchdog's TestConsoles looks.
var consoleDir = filepath.Join("..", "..", "guests", "watchdog", "testdata", "consoles")

// listened are trials whose watchdogs are listened to. must are those that see
// the fault; each report has to come in the window predicted for it.
var listened = []struct {
	scenario string
	vcpus    int
	setting  watchdog.Setting
	must     []watchdog.Detector
}{
	{"soft-lockup", 1, watchdog.Default, []watchdog.Detector{watchdog.SoftLockup}},
	{"soft-lockup", 1, watchdog.Minimum, []watchdog.Detector{watchdog.SoftLockup}},
	{"hard-lockup-partial", 2, watchdog.Default, []watchdog.Detector{watchdog.RCUStall}},
	{"mutex-deadlock", 1, watchdog.Default, []watchdog.Detector{watchdog.HungTask}},
	{"mutex-deadlock", 1, watchdog.Minimum, []watchdog.Detector{watchdog.HungTask}},
	{"panic", 1, watchdog.Default, []watchdog.Detector{watchdog.Panic}},
	{"soft-lockup", 1, watchdog.XenDefault, []watchdog.Detector{watchdog.Xen}},
}

// listen runs a trial with baselines and no monitor.
func listen(ctx context.Context, h *testLab, scenario string, vcpus int, s watchdog.Setting,
	log *slog.Logger) (results.Trial, []byte, error) {
	p := plan.Trial{
		Suite: "consoles", Cell: results.Cell{Scenario: scenario, Arm: results.Arm{Mechanism: "none", Driver: "xenctrl"},
			Machine: suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: vcpus, MemoryMiB: 160}, Watchdogs: string(s)}, Seed: 1,
		Timing: suites.Timing{BaselineMS: 1000, ObserveMS: 1000, DeadlineMS: 30_000, RecoveryMS: 15_000, SampleMS: 100},
	}
	rec, taken, err := h.record(ctx, p, log)
	return rec, taken.Console, err
}

var update = flag.Bool("update", false, "keep what the guests' consoles said")

// TestBaselineWindows: watchdogs that see a fault report it when their thresholds
// and their source say. With -update what the console said is kept.
func TestBaselineWindows(t *testing.T) {
	if !*update {
		long(t)
	}
	ctx, h := openLab(t, 4*time.Minute)
	for _, l := range listened {
		t.Run(fmt.Sprintf("%s-%d-%s", l.scenario, l.vcpus, l.setting), func(t *testing.T) {
			t.Parallel()
			rec, console, err := listen(ctx, h, l.scenario, l.vcpus, l.setting, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if rec.Findings == nil || rec.Outcome == results.Invalid {
				t.Fatalf("%s %s\n%s", rec.Outcome, rec.Reason, console)
			}
			got := make(map[watchdog.Detector]results.Finding)
			for _, b := range rec.Findings {
				got[watchdog.Detector(b.Observer)] = b
				if b.AtNS == nil {
					t.Logf("%s: armed %v with %v, no report", b.Observer, b.Armed, time.Duration(b.ThresholdNS))
					continue
				}
				at := time.Duration(*b.AtNS)
				t.Logf("%s: %v, predicted %v to %v: %v", b.Observer, at, time.Duration(b.FromNS), time.Duration(b.ToNS), b.Evidence)
				from, to := time.Duration(b.FromNS), time.Duration(b.ToNS)
				if to != 0 && (at < from || at > to) {
					t.Errorf("%s reports after %v, predicted %v to %v", b.Observer, at, from, to)
				}
			}
			for _, d := range l.must {
				if got[d].AtNS == nil {
					t.Errorf("%s does not report: %+v\n%s", d, got[d], console)
				}
			}
			if got[watchdog.HardLockup].Armed {
				t.Error("a guest without a performance counter has a hard-lockup detector")
			}
			if *update && !t.Failed() {
				if err := os.MkdirAll(consoleDir, 0o755); err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("%s-%d-%s.log", l.scenario, l.vcpus, l.setting)
				if err := os.WriteFile(filepath.Join(consoleDir, name), console, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
