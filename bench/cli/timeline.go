package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hangbench/analysis/figure"
	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// streamFile is the name of what a monitor observed, beside its time line.
const streamFile = "stream.jsonl"

// timelineFlags say what hangbench timeline records.
type timelineFlags struct {
	mechanism, out string
	vcpus          int
	seed           uint64
	lab            labFlags
}

func timelineCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "timeline", "SCENARIO|STREAM", "Draw one trial as its monitor saw it: task switches, signals, EPT violations, what each vCPU did, the fault and the verdict. A SCENARIO is tried once in the lab and its stream of observations kept; a STREAM (a file ending in .jsonl) is drawn without a lab.")
	var t timelineFlags
	f.StringVar(&t.mechanism, "mechanism", "exec-altp2m", "`name` of the mechanism (hangbench list mechanisms)")
	f.IntVar(&t.vcpus, "vcpus", 1, "vCPUs of the lab's guest, 1 to 8")
	f.Uint64Var(&t.seed, "seed", 1, "`number` that moves the instant of the fault")
	f.StringVar(&t.out, "out", ".", "`folder` for the figure and the stream")
	t.lab.add(f)
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if strings.HasSuffix(f.Arg(0), ".jsonl") {
		return t.redraw(env, f.Arg(0))
	}
	if err := t.check(f.Arg(0)); err != nil {
		return err
	}
	return t.record(ctx, env, f.Arg(0))
}

func (t *timelineFlags) check(scenario string) error {
	if _, err := scenarios.Find(scenario); err != nil {
		return exit.UsageError{Err: err}
	}
	if v := vocabulary(); !slices.Contains(v.Mechanisms, t.mechanism) {
		return exit.Usagef("--mechanism %s: there are %s", t.mechanism, strings.Join(v.Mechanisms, ", "))
	}
	if t.mechanism == "none" {
		return exit.Usagef("--mechanism none: without a monitor nothing is observed")
	}
	if t.vcpus < 1 || t.vcpus > 8 {
		return exit.Usagef("--vcpus %d: want 1 to 8", t.vcpus)
	}
	return nil
}

// record tries the scenario once in the lab.
func (t *timelineFlags) record(ctx context.Context, env *Env, scenario string) (err error) {
	p := newProgress(env, 0)
	defer p.end()
	h, err := t.lab.host(ctx, env, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	trial := plan.Trial{
		Suite: "timeline", Scenario: scenario, Mechanism: t.mechanism, Driver: "xenctrl", Seed: t.seed,
		Guest:  suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: t.vcpus, MemoryMiB: 160},
		Timing: suites.Timing{BaselineMS: 2000, ObserveMS: 4000, DeadlineMS: 30_000, RecoveryMS: 15_000, SampleMS: 100},
	}
	rec, taken, err := h.Record(ctx, trial, p.step)
	p.end()
	if err != nil {
		return err
	}
	if taken.Dropped > 0 {
		env.warn("the end of the stream is missing: %d observations did not fit", taken.Dropped)
	}
	stream, err := taken.Stream()
	if err != nil {
		return err
	}
	header := detect.Header{
		Scenario: scenario, Mechanism: t.mechanism, FromNS: taken.T0NS, LiftedNS: taken.LiftedNS, Class: detect.Class(rec.Class), Scope: detect.Scope(rec.Scope),
		Host: rec.Host, VCPUs: t.vcpus, MemoryMiB: trial.Guest.MemoryMiB, Guest: rec.GuestKernel,
	}
	line, err := timeline(&header, stream)
	if err != nil {
		return err
	}
	// The trial's own verdict stands: its thresholds and its end are the trial's.
	line.Verdict, line.VerdictNS = "", 0
	if rec.Outcome == results.Detected && rec.DetectNS != nil {
		line.Verdict, line.VerdictNS = rec.Class, *rec.DetectNS
	}
	var text bytes.Buffer
	if err := detect.WriteStream(&text, header, stream); err != nil {
		return err
	}
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of the time line: %w", err)
	}
	if err := os.WriteFile(filepath.Join(t.out, streamFile), text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the stream: %w", err)
	}
	fmt.Fprintf(env.Stdout, "%s, %s: %s", scenario, t.mechanism, rec.Outcome)
	if rec.Class != "" {
		fmt.Fprintf(env.Stdout, " as %s", rec.Class)
	}
	fmt.Fprintf(env.Stdout, "\n%s\n", filepath.Join(t.out, streamFile))
	return t.draw(env, line)
}

// redraw draws a stream that was recorded before. The verdict is that of the
// detector as it is now.
func (t *timelineFlags) redraw(env *Env, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("timeline: %w", err)}
	}
	defer f.Close()
	header, stream, err := detect.ReadStream(f)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("timeline: %s: %w", path, err)}
	}
	line, err := timeline(&header, stream)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("timeline: %s: %w", path, err)}
	}
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of the time line: %w", err)
	}
	return t.draw(env, line)
}

func (t *timelineFlags) draw(env *Env, line *figure.Timeline) error {
	fig, err := line.Figure()
	if err != nil {
		return exit.UsageError{Err: err}
	}
	paths, err := fig.Write(t.out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "%s\n", strings.Join(paths, "\n"))
	return err
}

// timeline makes a time line of a stream, with the detector's first verdict. The
// detector has the thresholds of the stream's header.
func timeline(h *detect.Header, stream []detect.Observation) (*figure.Timeline, error) {
	if len(stream) == 0 {
		return nil, errors.New("the stream has no observation")
	}
	t := &figure.Timeline{Host: h.Host, Scenario: h.Scenario, Mechanism: h.Mechanism, Fault: h.FromNS > 0}
	t.Guest = fmt.Sprintf("%d vCPU, %d MiB, %s", h.VCPUs, h.MemoryMiB, h.Guest)
	if h.Host == "" { // a stream whose recorder does not say where it comes from
		t.Host, t.Guest = "xen", h.Comment
	}
	from := h.FromNS
	if from == 0 {
		from = stream[0].TimeNS
	}
	if h.LiftedNS > from && h.FromNS > 0 {
		t.Lifted, t.LiftedNS = true, h.LiftedNS-from
	}
	th := detect.DefaultThresholds()
	if err := th.SetAll(h.Thresholds); err != nil {
		return nil, err
	}
	d := detect.NewDetector(th)
	for i := range stream {
		o := &stream[i]
		s := figure.TimelineSample{NS: o.TimeNS - from}
		if o.EPT != nil {
			s.Violations = &figure.TimelineViolations{Permission: o.EPT.Permission, Lazy: o.EPT.Lazy, Other: o.EPT.Other}
		}
		for _, v := range o.VCPUs {
			c := figure.TimelineVCPU{RunNS: v.CPUTimeNS, Signals: v.Signals}
			if v.Queue != nil {
				c.Switches = v.Queue.Switches
				if v.Queue.PID != 0 {
					c.Task = v.Queue.Comm
				}
			}
			s.VCPUs = append(s.VCPUs, c)
		}
		t.Samples = append(t.Samples, s)
		if v, hung := d.Observe(o); hung && t.Verdict == "" {
			t.Verdict, t.VerdictNS = string(v.Class), v.TimeNS-from
		}
	}
	return t, nil
}
