package analysis

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/stats"
	"hangbench/results"
)

// plantedRun fabricates a run on disk in which each cell's detection time,
// detection rate, overhead and violations per event are known, and reads it back
// as any run is read.
func plantedRun(t *testing.T, blocks int, truth func(vcpus int, mechanism string) planted) *Set {
	t.Helper()
	rng := rand.New(rand.NewPCG(2, 3))
	var trials []results.Trial
	for block := range blocks {
		phase := rng.Float64() // what a block has in common
		for _, vcpus := range []int{1, 2, 4} {
			for _, mechanism := range []string{"none", "poll", "exec-step"} {
				is := truth(vcpus, mechanism)
				tr := results.Trial{
					Schema: results.Schema, Suite: madeup.Suite, Trial: len(trials), Block: block,
					Cell: results.Cell{Scenario: "spinlock-deadlock", Kind: results.Fault, Arm: results.Arm{Mechanism: mechanism,
						Driver: "xenctrl"}, Machine: results.Machine{GuestKernel: "test", VCPUs: vcpus, MemoryMiB: 160}},
					Host: "lab", Expected: "spin", DeadlineNS: 3e9, WindowNS: 5e9,
					Outcome: results.Missed,
				}
				tr.Guest.ProgressRatio = new(is.progress * (0.8 + 0.2*phase) * math.Exp(0.01*rng.NormFloat64()))
				// Exponential detection times: some are beyond the deadline.
				if ns := int64(is.medianMS / math.Ln2 * rng.ExpFloat64() * 1e6); mechanism != "none" && ns < tr.DeadlineNS {
					tr.Outcome, tr.Class, tr.Scope, tr.DetectNS = results.Detected, "spin", "full", &ns
				}
				if mechanism != "none" {
					tr.Events.Delivered = 100 + rng.Uint64N(50)
					tr.EPT.Permission = tr.Events.Delivered
					tr.EPT.Lazy = tr.Events.Delivered * is.lazyPerEvent
					tr.EPT.Total = tr.EPT.Permission + tr.EPT.Lazy
				}
				trials = append(trials, tr)
			}
		}
	}
	store, err := results.Create(t.TempDir(), results.Manifest{
		RunID: "planted-1", Suite: results.NewSuiteInfo(madeup.Suite, []byte("name: made-up\n")), Planned: len(trials),
		Host: results.HostInfo{Kind: "lab", Description: "made up"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range trials {
		if err := store.Append(tr, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	run, err := results.ReadRun(store.Dir(), nil)
	if err != nil || len(run.Bad) > 0 {
		t.Fatal(run.Bad, err)
	}
	set, err := Group(run)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

type planted struct {
	medianMS, progress float64
	lazyPerEvent       uint64
}

// TestPlanted: the analysis gives back what was planted in a fabricated run.
func TestPlanted(t *testing.T) {
	truth := func(vcpus int, mechanism string) planted {
		p := planted{medianMS: 300 * float64(vcpus), progress: 1, lazyPerEvent: 0}
		switch mechanism {
		case "poll":
			p.medianMS *= 3 // 900, 1800, 3600: the last is beyond the deadline
			p.progress = 0.95
		case "exec-step":
			p.progress = 0.6
			p.lazyPerEvent = uint64(vcpus)
		}
		return p
	}
	set := plantedRun(t, 60, truth)
	if len(set.Cells) != 9 {
		t.Fatalf("%d cells", len(set.Cells))
	}
	for _, c := range set.Cells {
		if c.Mechanism == "none" {
			continue
		}
		is := truth(c.VCPUs, c.Mechanism)
		at := fmt.Sprintf("%s, %d vCPUs", c.Mechanism, c.VCPUs)
		s, err := stats.KaplanMeier(c.Lifetimes(), 0.95)
		if err != nil {
			t.Fatal(err)
		}
		q, known := s.Quantile(0.5)
		if q.Lo > is.medianMS || q.Hi < is.medianMS {
			t.Errorf("%s: half detected by %+v, planted %g ms", at, q, is.medianMS)
		}
		if known != (is.medianMS < 3000) {
			t.Errorf("%s: median known is %v with a deadline of 3000 ms, planted %g", at, known, is.medianMS)
		}
		// The median of the detected alone would be too short where there are
		// misses: that is what the censoring is for.
		if detected, _ := stats.Median(c.Values(DetectTime.Of)); is.medianMS >= 1800 && detected > 0.85*is.medianMS {
			t.Errorf("%s: the detected alone have a median of %g ms, planted %g: this test shows nothing", at, detected,
				is.medianMS)
		}
		seen := 1 - math.Exp2(-3000/is.medianMS)
		if iv, err := stats.ClopperPearson(c.Counts.Detected, c.Counts.Valid, 0.95); err != nil || iv.Lo > seen ||
			seen > iv.Hi {
			t.Errorf("%s: detected %d of %d, %+v, planted %g", at, c.Counts.Detected, c.Counts.Valid, iv, seen)
		}
		ratio, err := stats.PairedRatio(c.Pairs(unwatched(set, c), Progress.Of), 0.95)
		if err != nil || ratio.N != 60 || ratio.CI.Lo > is.progress || ratio.CI.Hi < is.progress ||
			ratio.CI.Hi-ratio.CI.Lo > 0.02 {
			t.Errorf("%s: progress %+v, %v; planted %g", at, ratio, err, is.progress)
		}
		for _, x := range c.Values(PerEvent.Of) {
			if x != float64(1+is.lazyPerEvent) {
				t.Errorf("%s: %g violations an event, planted %d", at, x, 1+is.lazyPerEvent)
			}
		}
	}
}

// unwatched is the cell like c without a monitor.
func unwatched(s *Set, c *Cell) *Cell {
	want := c.Cell
	want.Mechanism = results.Unwatched
	return s.Cell(want)
}

func TestAccuracies(t *testing.T) {
	set, err := Group(madeup.Run(madeup.Trials(3)))
	if err != nil {
		t.Fatal(err)
	}
	all, err := set.Accuracies(0.95)
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	altp2m, step := all[0], all[1]
	if step.Label != "exec-step" || step.Controls != 6 || step.Alarms != 1 || step.QoS.Mistakes != 1 || step.Early != 0 {
		t.Errorf("%+v", step)
	}
	if altp2m.Controls != 5 || altp2m.Alarms != 0 { // one is invalid
		t.Errorf("%+v", altp2m)
	}
	seconds := 0.0
	for _, c := range set.Cells {
		if !c.Fault && c.Mechanism == "exec-altp2m" {
			for i := range c.Trials {
				if c.Trials[i].Outcome != results.Invalid {
					seconds += float64(c.Trials[i].WindowNS) / 1e9
				}
			}
		}
	}
	if math.Abs(altp2m.QoS.Exposure-seconds) > 1e-9 || seconds < 5 {
		t.Errorf("watched %g s, want %g", altp2m.QoS.Exposure, seconds)
	}

	early := madeup.Trials(1)
	for i := range early {
		if early[i].Outcome == results.Detected {
			early[i].Outcome, early[i].DetectNS = results.FalseAlarm, nil
		}
	}
	only := early[:0]
	for _, tr := range early {
		if tr.DeadlineNS > 0 {
			only = append(only, tr)
		}
	}
	if set, err = Group(madeup.Run(only)); err != nil {
		t.Fatal(err)
	}
	all, err = set.Accuracies(0.95)
	if err != nil || len(all) != 2 || all[0].Early != 1 || all[0].QoS != nil || all[0].Alarms != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestCellCounts(t *testing.T) {
	ns := int64(5e6)
	c := &Cell{Trials: []results.Trial{
		{Outcome: results.Detected, DetectNS: &ns, Class: "spin", Expected: "spin", WindowNS: 1e9},
		{Outcome: results.Detected, DetectNS: &ns, Class: "hard", Expected: "spin", WindowNS: 1e9},
		{Outcome: results.Missed, DeadlineNS: 8e6, Expected: "spin", WindowNS: 1e9},
		{Outcome: results.FalseAlarm, DeadlineNS: 8e6, Class: "spin", Expected: "spin", WindowNS: 1e9},
		{Outcome: results.Invalid, DeadlineNS: 8e6, WindowNS: 1e9},
	}}
	lives := c.Lifetimes()
	want := []stats.Lifetime{{Time: 5}, {Time: 5}, {Time: 8, Censored: true}}
	if len(lives) != 3 || lives[0] != want[0] || lives[1] != want[1] || lives[2] != want[2] {
		t.Errorf("lifetimes %v, want %v", lives, want)
	}
	if c.Right() != 1 || c.Expected() != "spin" {
		t.Errorf("right %d, expected %q", c.Right(), c.Expected())
	}
	if new(Cell).Pairs(nil, Progress.Of) != nil {
		t.Error("pairs with nothing")
	}
}
