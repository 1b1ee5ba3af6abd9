package labhost_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hangbench/bench/labhost"
	"hangbench/bench/plan"
	"hangbench/guests/lab"
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

var update = flag.Bool("update", false, "record the streams that monitor/detect replays")

// streamDir is where monitor/detect's TestStreams looks.
var streamDir = filepath.Join("..", "..", "monitor", "detect", "testdata", "streams")

// recorded are the trials whose observations are kept. The scope is the one of
// the verdict that is right: rules that judge tasks say partial, as the vCPUs go on.
var recorded = []struct {
	scenario string
	vcpus    int
	scope    detect.Scope
}{
	{"spinlock-deadlock", 1, detect.Full},
	{"spinlock-deadlock-partial", 2, detect.Partial},
	{"spinlock-irqoff", 1, detect.Full},
	{"hard-lockup", 1, detect.Full},
	{"hard-lockup-partial", 2, detect.Partial},
	{"soft-lockup", 1, detect.Full},
	{"mutex-deadlock", 1, detect.Partial},
	{"io-stall", 1, detect.Partial},
	{"fork-bomb", 1, detect.Full},
	{"memory-thrash", 1, detect.Full},
	{"lost-timer", 1, detect.Full},
	{"panic", 1, detect.Full},
	{"spinlock-irqoff", 2, detect.Partial},
	{"soft-lockup-partial", 2, detect.Partial},
	{"mutex-deadlock", 2, detect.Partial},
	{"fork-bomb", 2, detect.Full},
	{"lost-timer", 2, detect.Full},
	{"spinlock-devices", 2, detect.Full},
	{"spinlock-forks", 2, detect.Full},
	{"control-uneven", 2, ""},
	{"control-idle", 1, ""},
	{"control-idle", 2, ""},
	{"control-busy", 1, ""},
	{"control-syscalls", 1, ""},
	{"control-forks", 1, ""},
	{"control-disk", 1, ""},
	{"control-memory", 1, ""},
	{"control-pause", 1, ""},
}

// patient are thresholds twice the detector's own. With them the trial's verdict
// comes late and its fault is lifted late, so the stream goes on for a while after
// the verdict that a replay has to give: a detector that became slower is late
// there, and not at the end of what is known.
var patient = map[string]int64{
	"spin_ms": 1000, "hard_ms": 1000, "soft_ms": 4000, "stopped_ms": 1400, "blocked_ms": 5000, "io_ms": 5000, "forkstorm_ms": 3000, "thrash_ms": 4000,
}

// Limits of what is committed, in bytes.
const (
	streamBytes  = 48 << 10
	streamsBytes = 640 << 10
)

// before is how much of a stream is kept before the fault: more than one look at
// the kernel (monitor.DefaultLook).
const before = 1500 * time.Millisecond

// record runs the trial and returns its stream as it is kept.
func record(ctx context.Context, h *labhost.Host, id string, vcpus int, scope detect.Scope, progress func(string)) ([]byte, error) {
	sc, err := scenarios.Find(id)
	if err != nil {
		return nil, err
	}
	p := plan.Trial{
		Suite: "streams", Scenario: id, Mechanism: "exec-altp2m", Driver: "xenctrl", Seed: 1,
		Guest:  suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: vcpus, MemoryMiB: 160},
		Timing: suites.Timing{BaselineMS: 1000, ObserveMS: 2000, DeadlineMS: 60_000, RecoveryMS: 15_000, SampleMS: 100},
	}
	if sc.Control() {
		p.Timing.ObserveMS = 5000
	} else {
		p.Thresholds = patient
	}
	rec, taken, err := h.Record(ctx, p, progress)
	if err != nil {
		return nil, err
	}
	stream, err := taken.Stream()
	if err != nil {
		return nil, err
	}
	header := detect.Header{
		Scenario: id, Mechanism: p.Mechanism, Class: detect.Class(sc.Class), Scope: scope,
		Comment: fmt.Sprintf("host lab, %d vCPU, %d MiB, guest kernel %s", vcpus, p.Guest.MemoryMiB, rec.GuestKernel),
	}
	switch {
	case taken.Dropped > 0:
		return nil, fmt.Errorf("%d observations were dropped", taken.Dropped)
	case sc.Control():
		if rec.Outcome != results.Clean {
			return nil, fmt.Errorf("%s: %s %s", rec.Outcome, rec.Class, rec.Reason)
		}
	case rec.Outcome != results.Detected || rec.Class != sc.Class || taken.T0NS == 0:
		return nil, fmt.Errorf("%s as %q, T0 %d: %s %q", rec.Outcome, rec.Class, taken.T0NS, rec.Reason, rec.Evidence)
	default:
		stream = between(stream, taken.T0NS-int64(before), taken.T0NS+*rec.DetectNS)
		header.FromNS = taken.T0NS
		v, ok := firstVerdict(stream)
		if !ok {
			return nil, fmt.Errorf("the detector's own thresholds give no verdict where twice as large ones did")
		}
		// As long as it took, up to a whole second.
		header.WithinNS = int64(time.Duration(v.TimeNS-taken.T0NS).Truncate(time.Second) + time.Second)
	}
	var b bytes.Buffer
	err = detect.WriteStream(&b, header, stream)
	return b.Bytes(), err
}

// between returns the observations of from to to.
func between(stream []detect.Observation, from, to int64) []detect.Observation {
	var kept []detect.Observation
	for _, o := range stream {
		if from <= o.TimeNS && o.TimeNS <= to {
			kept = append(kept, o)
		}
	}
	return kept
}

func firstVerdict(stream []detect.Observation) (detect.Verdict, bool) {
	d := detect.NewDetector(detect.DefaultThresholds())
	for i := range stream {
		if v, hung := d.Observe(&stream[i]); hung {
			return v, true
		}
	}
	return detect.Verdict{}, false
}

// TestRecordStreams records, with -update, what the monitor observes in one trial
// of each fault and of some controls. Replaying it needs no lab.
func TestRecordStreams(t *testing.T) {
	if !*update {
		t.Skip("records only with -update")
	}
	ctx, h, _ := openLab(t)
	if err := os.MkdirAll(streamDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, r := range recorded {
		t.Run(fmt.Sprintf("%s-%d", r.scenario, r.vcpus), func(t *testing.T) {
			b, err := record(ctx, h, r.scenario, r.vcpus, r.scope, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes, %d lines", len(b), bytes.Count(b, []byte{'\n'}))
			if len(b) > streamBytes {
				t.Errorf("the stream is %d bytes, more than %d", len(b), streamBytes)
			}
			if err := os.WriteFile(filepath.Join(streamDir, fmt.Sprintf("%s-%d.jsonl", r.scenario, r.vcpus)), b, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
	if t.Failed() {
		return
	}
	files, err := filepath.Glob(filepath.Join(streamDir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += st.Size()
	}
	if total > streamsBytes {
		t.Errorf("all streams are %d bytes, more than %d", total, streamsBytes)
	}
}

// TestRecordTwice: recording the same trial twice gives the same bytes, with the
// observations of before and after the fault.
func TestRecordTwice(t *testing.T) {
	long(t)
	ctx, h, _ := openLab(t)
	one, err := record(ctx, h, "spinlock-deadlock", 1, detect.Full, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	two, err := record(ctx, h, "spinlock-deadlock", 1, detect.Full, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Errorf("recorded twice it is another stream:\n%s\n%s", one, two)
	}
	header, stream, err := detect.ReadStream(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(stream); n == 0 || stream[0].TimeNS >= header.FromNS || stream[n-1].TimeNS <= header.FromNS {
		t.Errorf("%d observations do not reach from before the fault at %d to after it", n, header.FromNS)
	}
}
