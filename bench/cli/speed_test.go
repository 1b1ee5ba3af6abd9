package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"hangbench/bench/exit"
	"hangbench/results"
)

// bigRun writes a made-up run of 200 cells with the given number of trials each
// into dir, without the store's care for each record.
func bigRun(tb testing.TB, dir string, repetitions int) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	var trials bytes.Buffer
	enc := json.NewEncoder(&trials)
	n := 0
	for block := range repetitions {
		for s := range 20 {
			for m := range 10 {
				tr := results.Trial{
					Schema: results.Schema, Suite: madeUp, Trial: n, Block: block,
					Cell: results.Cell{Kind: results.Control, Scenario: fmt.Sprintf("fault-%d", s),
						Arm:     results.Arm{Mechanism: fmt.Sprintf("way-%d", m), Driver: "xenctrl"},
						Machine: results.Machine{GuestKernel: "6.12-test", VCPUs: 1, MemoryMiB: 160}},
					Host: "lab", Seed: rng.Uint64(),
					Outcome: results.Clean, WindowNS: 5e9 + rng.Int64N(1e9),
					Guest: results.Guest{ProgressRatio: new(0.5 + 0.5*rng.Float64()), BeatsBefore: 10, BeatsDuring: 9, BeatsAfter: 2},
				}
				if m == 0 {
					tr.Mechanism = "none"
				} else {
					tr.EPT.Permission, tr.EPT.Lazy = 100+rng.Uint64N(100), rng.Uint64N(1000)
					tr.EPT.Total = tr.EPT.Permission + tr.EPT.Lazy
					tr.Events = results.Events{Delivered: tr.EPT.Permission, Steps: 10 * tr.EPT.Permission,
						Signals: 90, Switches: 1000}
				}
				if s >= 8 {
					tr.Kind = results.Fault
					tr.Expected, tr.DeadlineNS, tr.Outcome, tr.Recovered = "spin", 8e9, results.Missed, new(true)
					if ns := int64(1e9 * rng.ExpFloat64()); m > 0 && ns < tr.DeadlineNS {
						tr.Outcome, tr.Class, tr.Scope, tr.DetectNS = results.Detected, "spin", "full", &ns
						if n%10 == 0 {
							const line = "[   24.134] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:77]\n"
							tr.Console = strings.Repeat(line, results.MaxConsole/73)
							tr.Console = tr.Console[:len(tr.Console)-1]
						}
						tr.Evidence = []string{"vCPU 0: no task switch for 503 ms while it ran 89% of the time",
							"vCPU 0: rbx = tasklist_lock"}
					}
				}
				if err := enc.Encode(tr); err != nil {
					tb.Fatal(err)
				}
				n++
			}
		}
	}
	manifest, err := json.Marshal(results.Manifest{
		Schema: results.ManifestSchema, RunID: "made-up-1", Suite: results.NewSuiteInfo(madeUp, []byte(madeUpSuite)),
		Planned: n, Host: results.HostInfo{Kind: "lab", Description: "made up"}, Started: madeUpStart,
		TrialWallSec: make([]float64, n),
	})
	if err != nil {
		tb.Fatal(err)
	}
	for name, data := range map[string][]byte{results.ManifestFile: manifest, results.TrialsFile: trials.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
}

// processorSeconds is how long this process was on a CPU: unlike the wall clock it
// does not count what else the machine does.
func processorSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkReport is the whole of "hangbench report" of 10,000 trials, and of
// comparing two such runs: tables, figures and the page. Beside the time it
// prints how much memory the process took from the system in all.
func BenchmarkReport(b *testing.B) {
	dir := b.TempDir()
	bigRun(b, dir, 50)
	for _, args := range [][]string{
		{"report", dir}, {"report", dir, "--tables", "all"}, {"compare", dir, dir}, {"export", dir},
	} {
		b.Run(args[0]+fmt.Sprint(len(args)-1), func(b *testing.B) {
			before := processorSeconds(b)
			n := 0
			for b.Loop() {
				n++
				env := &Env{Stdout: io.Discard, Stderr: io.Discard, Getenv: os.Getenv, Now: time.Now}
				if status := Main(b.Context(), env, args); status != exit.Done {
					b.Fatalf("status %d", status)
				}
			}
			b.ReportMetric((processorSeconds(b)-before)/float64(n), "cpu-sec/op")
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-of-system")
		})
	}
}
