package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/analysis/figure"
	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// streamFile is the name of the file with the observations, beside the time line.
const streamFile = "stream.jsonl"

// timelineFlags are the flags of "timeline".
type timelineFlags struct {
	mechanism, out string
	streams        string
	vcpus          int
	seed           uint64
	lab            labFlags
}

func (a *app) timelineCommand() *cobra.Command {
	c := a.command("timeline SCENARIO|STREAM", "draw one trial as its monitor saw it",
		"Draw one trial as its monitor saw it: task switches, signals, EPT violations, what each vCPU did, the fault and "+
			"the verdict. A SCENARIO is tried once in the lab and its stream of observations kept; a STREAM (a file ending "+
			"in .jsonl) is drawn without a lab.", 1, 1)
	var t timelineFlags
	f := c.Flags()
	f.StringVar(&t.mechanism, "mechanism", "exec-altp2m", "`name` of the mechanism (hangbench list mechanisms)")
	f.IntVar(&t.vcpus, "vcpus", 1, "vCPUs of the lab's guest, 1 to 8")
	f.Uint64Var(&t.seed, "seed", 1, "`number` that moves the instant of the fault")
	f.StringVar(&t.out, "out", ".", "`folder` for the figure and the stream")
	f.StringVar(&t.streams, "record", "", "record the stream of SCENARIO, or STREAM again, in this `folder` of streams "+
		"that tests of the detector replay; draw nothing")
	t.lab.add(c)
	c.ValidArgsFunction = once(completeScenarios)
	completeFlag(c, "mechanism", choices(mechanisms()...))
	completeFlag(c, "out", folders)
	completeFlag(c, "record", folders)
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.Changed("record") {
			for _, other := range []string{"mechanism", "seed", "out"} {
				if f.Changed(other) {
					return exit.Usagef("--%s: not with --record", other)
				}
			}
			return t.recordStream(c.Context(), a, args[0])
		}
		if strings.HasSuffix(args[0], ".jsonl") {
			for _, other := range []string{"mechanism", "vcpus", "seed"} {
				if f.Changed(other) {
					return exit.Usagef("--%s: not with a STREAM, which has its own", other)
				}
			}
			return t.redraw(c.Context(), a, args[0])
		}
		if err := t.check(args[0]); err != nil {
			return err
		}
		if err := tryFolder("--out", t.out); err != nil {
			return err
		}
		return t.record(c.Context(), a, args[0])
	}
	return c
}

func (t *timelineFlags) check(scenario string) error {
	if _, err := scenarios.Find(scenario); err != nil {
		if _, serr := os.Stat(scenario); serr == nil {
			return exit.Usagef("%s is no scenario; the name of a stream's file ends in .jsonl", scenario)
		}
		return exit.UsageError{Err: err}
	}
	m, err := trap.Find(t.mechanism)
	switch {
	case err != nil:
		return exit.Usagef("--mechanism %s: %w", t.mechanism, err)
	case !m.Watches():
		return exit.Usagef("--mechanism %s: without a monitor nothing is observed", t.mechanism)
	case t.vcpus < 1 || t.vcpus > 8:
		return exit.Usagef("--vcpus %d: want 1 to 8", t.vcpus)
	}
	return nil
}

// record runs one trial of the scenario in the lab.
func (t *timelineFlags) record(ctx context.Context, a *app, scenario string) (err error) {
	h, err := t.lab.host(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Lab.Close()) }()
	guest := defaultGuest()
	guest.VCPUs = t.vcpus
	trial := plan.Trial{
		Suite: "timeline", Seed: t.seed, Cell: results.Cell{
			Scenario: scenario, Machine: guest, Arm: results.Arm{Mechanism: t.mechanism, Driver: dom0.Drivers()[0]}},
		Timing: suites.Timing{BaselineMS: 2000, ObserveMS: 4000, DeadlineMS: 30_000, RecoveryMS: 15_000, SampleMS: 100},
	}
	rec, taken, err := h.Record(ctx, trial, a.log)
	if err != nil {
		return err
	}
	a.display.End()
	stream, err := taken.Stream()
	if err != nil {
		return err
	}
	header := detect.Header{
		Scenario: scenario, Mechanism: t.mechanism, FromNS: taken.T0NS, RemovedNS: taken.RemovedNS, Dropped: taken.Dropped,
		Class: detect.Class(rec.Class), Scope: detect.Scope(rec.Scope),
		Host: rec.Host, VCPUs: t.vcpus, MemoryMiB: trial.MemoryMiB, Guest: rec.GuestKernel,
	}
	line, err := timeline(&header, stream)
	if err != nil {
		return err
	}
	// The trial's own verdict replaces that of the replay: it has the trial's end.
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
	if err := results.ReplaceFile(filepath.Join(t.out, streamFile), text.Bytes()); err != nil {
		return fmt.Errorf("write the stream: %w", err)
	}
	fmt.Fprintf(a.out, "%s, %s: %s", scenario, t.mechanism, rec.Outcome)
	if rec.Class != "" {
		fmt.Fprintf(a.out, " as %s", rec.Class)
	}
	fmt.Fprintf(a.out, "\n%s\n", filepath.Join(t.out, streamFile))
	return t.draw(a, line)
}

// redraw draws a recorded stream. The verdict is that of the present detector.
func (t *timelineFlags) redraw(ctx context.Context, a *app, path string) error {
	recorded, err := readInput(ctx, func() (recording, error) { return readStream(path) })
	if err != nil {
		return err
	}
	line, err := timeline(&recorded.header, recorded.observations)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("timeline: %s: %w", path, err)}
	}
	if err := tryFolder("--out", t.out); err != nil {
		return err
	}
	if err := os.MkdirAll(t.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of the time line: %w", err)
	}
	return t.draw(a, line)
}

func (t *timelineFlags) draw(a *app, line *figure.Timeline) error {
	if line.Dropped > 0 {
		a.warn("the end of the stream is missing: %d observations did not fit", line.Dropped)
	}
	fig, err := line.Figure()
	if err != nil {
		return exit.UsageError{Err: err}
	}
	paths, err := fig.Write(t.out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "%s\n", strings.Join(paths, "\n"))
	return err
}

// timeline makes a time line of a stream, with the detector's first verdict. The
// detector has the thresholds of the stream's header.
func timeline(h *detect.Header, stream []detect.Observation) (*figure.Timeline, error) {
	if len(stream) == 0 {
		return nil, errors.New("the stream has no observation")
	}
	t := &figure.Timeline{Host: h.Host, Scenario: h.Scenario, Mechanism: h.Mechanism, Fault: h.FromNS > 0,
		Dropped: h.Dropped}
	t.Guest = fmt.Sprintf("%d vCPU, %d MiB, %s", h.VCPUs, h.MemoryMiB, h.Guest)
	if h.Host == "" { // a stream whose recorder does not say where it comes from
		t.Host, t.Guest = results.Xen, h.Comment
	}
	from := h.FromNS
	if from == 0 {
		from = stream[0].TimeNS
	}
	if h.RemovedNS > from && h.FromNS > 0 {
		t.Removed, t.RemovedNS = true, h.RemovedNS-from
	}
	v, _, err := detect.Replay(*h, stream)
	if err != nil {
		return nil, err
	}
	if v.Class != "" {
		t.Verdict, t.VerdictNS = string(v.Class), v.TimeNS-from
	}
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
	}
	return t, nil
}
