package labhost

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// beforeFault is how much of a stream is kept before the fault. It is longer than
// the time between two kernel samples (monitor.DefaultInspect).
const beforeFault = 1500 * time.Millisecond

// patient returns thresholds with which every early decision takes twice as long.
// So the trial's verdict comes late and the trial removes its fault late. The stream
// goes on after the verdict that a replay must give, and a detector that became
// slower is found to be late.
func patient() map[string]int64 {
	all := map[string]int64{}
	for _, i := range detect.List() {
		if len(i.Thresholds) > 0 {
			all[i.Thresholds[0].Name] = 2 * i.Thresholds[0].Default
		}
	}
	return all
}

// RecordStream runs one trial of the scenario in a guest with that number of vCPUs.
// It returns the observations of the trial's monitor, for a replay: from shortly
// before the fault to some time after the verdict. The header holds the first
// verdict of a detector with its default thresholds. It is an error if that is not
// the scenario's.
func (h *Host) RecordStream(ctx context.Context, scenario string, vcpus int, log *slog.Logger) (detect.Header,
	[]detect.Observation, error) {
	sc, err := scenarios.Find(scenario)
	if err != nil {
		return detect.Header{}, nil, err
	}
	p := plan.Trial{
		Suite: "streams", Cell: results.Cell{Scenario: scenario, Arm: results.Arm{Mechanism: "exec-altp2m",
			Driver: "xenctrl"},
			Machine: suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: vcpus, MemoryMiB: 160}}, Seed: 1,
		Timing: suites.Timing{BaselineMS: 1000, ObserveMS: 2000, DeadlineMS: 60_000, RecoveryMS: 15_000, SampleMS: 100},
	}
	if sc.Control() {
		p.Timing.ObserveMS = 5000
	} else {
		p.Thresholds = results.NewSettings(patient())
	}
	rec, taken, err := h.Record(ctx, p, log)
	if err != nil {
		return detect.Header{}, nil, err
	}
	header, stream, err := replayable(sc, &p, &rec, &taken)
	if err != nil {
		return detect.Header{}, nil, fmt.Errorf("record a stream of %s: %w", scenario, err)
	}
	return header, stream, nil
}

// replayable makes a stream for a replay of what a trial has recorded.
func replayable(sc scenarios.Scenario, p *plan.Trial, rec *results.Trial, taken *dom0.Recording) (detect.Header,
	[]detect.Observation, error) {
	h := detect.Header{
		Scenario: sc.ID, Mechanism: p.Mechanism, Host: rec.Host, Guest: rec.GuestKernel,
		VCPUs: p.Machine.VCPUs, MemoryMiB: p.Machine.MemoryMiB, Class: detect.Class(sc.Class),
	}
	stream, err := taken.Stream()
	switch {
	case err != nil:
		return h, nil, err
	case taken.Dropped > 0:
		return h, nil, fmt.Errorf("%d observations were dropped", taken.Dropped)
	case sc.Control() && rec.Outcome == results.Clean:
		return h, stream, nil
	case sc.Control() || rec.Outcome != results.Detected || rec.Class != sc.Class || taken.T0NS == 0:
		return h, nil, fmt.Errorf("%s as %q, T0 %d: %s %q", rec.Outcome, rec.Class, taken.T0NS, rec.Reason, rec.Evidence)
	}
	var kept []detect.Observation
	for _, o := range stream {
		if from, to := taken.T0NS-int64(beforeFault), taken.T0NS+*rec.DetectNS; from <= o.TimeNS && o.TimeNS <= to {
			kept = append(kept, o)
		}
	}
	v, undecided, err := detect.Replay(h, kept)
	switch {
	case err != nil:
		return h, nil, err
	case v.Class != h.Class:
		return h, nil, fmt.Errorf("replayed with the default thresholds it gives %q; undecided: %q", v.Class, undecided)
	}
	h.Scope, h.Affected, h.Evidence, h.FromNS = v.Scope, v.VCPUs, v.Evidence, taken.T0NS
	// As long as it took, up to a whole second.
	h.WithinNS = int64(time.Duration(v.TimeNS-taken.T0NS).Truncate(time.Second) + time.Second)
	return h, kept, nil
}
