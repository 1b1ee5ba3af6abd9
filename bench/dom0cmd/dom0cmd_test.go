package dom0cmd

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/recovery"
	"hangbench/monitor"
	"hangbench/monitor/detect"
)

func TestWatchLines(t *testing.T) {
	for _, c := range []struct {
		line watchLine
		want []string
	}{
		{watchLine{Event: "attached", Domain: 3, Mechanism: "poll", Kernel: "6.12.1"}, []string{"domain 3", "poll",
			"6.12.1", "known from a file"}},
		{watchLine{Event: "attached", Kernel: "6.1.0", KernelFrom: kernelMemory,
			Memory:   &dom0.MemoryRead{Slide: 0x1200000, Bytes: 11 << 20, NS: 1_400_000_000},
			Unjudged: []detect.Unjudged{{Class: detect.ClassThrash, Why: "free memory: none"}}},
			[]string{"found in its memory (moved by 0x1200000; 11.0 MiB read in 1.4 s)\n",
				"thrash cannot be judged: free memory: none"}},
		{watchLine{Event: "verdict", MS: 12345, Class: "spin", Scope: "partial", VCPUs: []int{1}, Evidence: []string{"one",
			"two"}}, []string{"12.345 s", "HANG spin", "partial, vCPUs [1]", "one\n", "two"}},
		{watchLine{Event: "recovered", Class: "spin", HungMS: 1500}, []string{"spin hang is over", "1.500 s"}},
		{watchLine{Event: "detached", Counters: &monitor.Counters{Counts: monitor.Counts{Samples: 17, Steps: 18},
			BackedOut: "livelock"}},
			[]string{"17 samples", "18 steps", "backed out: livelock"}},
	} {
		for _, want := range c.want {
			if got := c.line.text(); !strings.Contains(got, want) {
				t.Errorf("%q lacks %q", got, want)
			}
		}
	}
}

func TestPrintRecovered(t *testing.T) {
	good := recovery.Recovered{Domain: 3, Journal: recovery.JournalDead, Mechanism: "int3-step", PID: 77, RingOn: true,
		BytesPatched: 1,
		RingFree:     true, Altp2mOff: true, NotStepping: true, NoTrap: true, NotPaused: true}
	bad := recovery.Recovered{Domain: 4, Journal: recovery.JournalNone, Altp2mOff: true, NotStepping: true, NoTrap: true,
		PausedByOthers: true}
	var b bytes.Buffer
	if err := printRecovered(&b, []recovery.Recovered{good, bad}, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"domain 3: journal dead (int3-step, process 77)", "ring on", "1 bytes patched",
		"domain 4: journal none", "ring free NO", "paused, not by a monitor"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := printRecovered(&b, nil, true); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema    int
		Recovered []recovery.Recovered
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Schema != 1 || got.Recovered == nil {
		t.Errorf("%s: %v", b.String(), err)
	}
}
