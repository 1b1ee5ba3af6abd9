package results

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// testTrial returns a believable record; its numbers are made up for tests.
func testTrial(i int) Trial {
	t := Trial{
		Schema: Schema, Suite: "test", Trial: i, Block: i / 3,
		Cell: Cell{Scenario: "spinlock-deadlock", Kind: Fault, Arm: Arm{Mechanism: "exec-step", Driver: "xenctrl"},
			Machine: Machine{GuestKernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160}}, Host: "lab",
		Seed:    uint64(i) * 0x9e3779b97f4a7c15,
		Outcome: Detected, Class: "spin", Scope: "full", Expected: "spin",
		Evidence:   []string{"vcpu 0 in queued_read_lock_slowpath+0x1c <tasklist_lock>"},
		DeadlineNS: 3e9, WindowNS: 1_200_000_000 + int64(i),
		EPT:    EPT{Total: 1400, Permission: 1200, Lazy: 190, MMIO: 7, Superpage: 2, Suppressed: 1, TraceLost: 3},
		Events: Events{Delivered: 1200, Steps: 1200},
		Guest:  Guest{ProgressRatio: new(0.8125), BeatsBefore: 50, BeatsDuring: 41, BeatsAfter: 12},
	}
	ns := int64(150_000_000 + i)
	t.DetectNS = &ns
	yes := true
	t.Recovered = &yes
	return t
}

func testLine(tb testing.TB, i int) []byte {
	tb.Helper()
	data, err := json.Marshal(testTrial(i))
	if err != nil {
		tb.Fatal(err)
	}
	return append(data, '\n')
}

func testManifest(planned int) Manifest {
	return Manifest{
		RunID:    "test-1-20260102T030405Z",
		Suite:    NewSuiteInfo("test", []byte("name: test\n")),
		Seed:     1,
		Planned:  planned,
		Host:     HostInfo{Kind: "lab", Description: "for tests"},
		Versions: Versions{Hangbench: "abc", Go: "go1.26", Packages: map[string]string{"xen": "4.20"}},
		Arms:     Arms{"exec-step": {PageTrap: true, View: HostView}},
		Started:  time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// memoryDir returns a folder in memory if there is one, else on disk: a test that syncs
// a thousand files takes a minute there.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "results")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func jsonLine(tr Trial) ([]byte, error) {
	data, err := json.Marshal(tr)
	return append(data, '\n'), err
}
