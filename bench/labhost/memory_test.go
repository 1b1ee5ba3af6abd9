package labhost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"hangbench/bench/agent"
	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/place"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/scenarios/suites"
)

// noKernels is a folder of dom0 without guest kernels.
const noKernels = "/proc"

// watchWithoutFile watches a guest for two seconds without a file of its kernel, and
// returns what was said of the kernel when the monitor was attached.
func watchWithoutFile(t *testing.T, m *labhost.Machine, domain, mechanism string) (release string,
	read dom0.MemoryRead) {
	t.Helper()
	out := inDom0(t, m, exit.Done, "", "watch", domain, "--guests", noKernels, "--mechanism", mechanism, "--duration",
		"2s", "--json")
	var events []string
	for d := json.NewDecoder(strings.NewReader(out.Stdout)); d.More(); {
		var line struct {
			Event, Kernel string
			KernelFrom    string `json:"kernel_from"`
			Memory        *dom0.MemoryRead
			Unjudged      []detect.Unjudged
			Counters      *monitor.Counters
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		events = append(events, line.Event)
		switch line.Event {
		case "attached":
			if line.KernelFrom != "memory" || line.Memory == nil || len(line.Unjudged) > 0 {
				t.Fatalf("%s: attached: %+v", domain, line)
			}
			release, read = line.Kernel, *line.Memory
			t.Logf("%s: Linux %s: %+v", domain, release, read)
		case "detached":
			if line.Counters == nil || line.Counters.Samples == 0 || mechanism != "poll" && line.Counters.Signals == 0 {
				t.Errorf("%s: counters %+v", domain, line.Counters)
			}
		}
	}
	if strings.Join(events, " ") != "attached detached" {
		t.Errorf("%s: events %v; %s", domain, events, out.Stderr)
	}
	return release, read
}

// TestWatchMemory: a guest can be watched without a file of its kernel, wherever the
// kernel lies. The short form takes a guest that the lab did not make: xl did, by hand,
// and it runs with the kernel's own defaults.
func TestWatchMemory(t *testing.T) {
	ctx, h := openLab(t, 30*time.Second)
	t.Run("by hand", func(t *testing.T) {
		m := h.dom0(t, ctx)
		image := fmt.Sprintf(`kernel="%s/%s/%s"`, place.Guests, guest(1).Kernel, place.Kernel)
		ramdisk := fmt.Sprintf(`ramdisk="%s/%s"`, place.Guests, place.Ramdisk(""))
		out, err := execute(t, m, "xl", "create", "/dev/null", `name="mine"`, `type="pvh"`, "vcpus=2", "memory=192", image,
			ramdisk)
		if err != nil || out.Status != 0 {
			t.Fatalf("xl create: %+v, %v", out, err)
		}
		release, read := watchWithoutFile(t, m, "mine", "poll")
		if !strings.HasPrefix(release, "6.12.") || read.Slide != 0 || read.Bytes < 8<<20 {
			t.Errorf("Linux %s, %+v", release, read)
		}
	})
	if !all() { // each of the other kernels needs a lab of its own
		return
	}
	for _, k := range lab.GuestKernels() {
		t.Run(k, func(t *testing.T) { testWatchMemory(t, ctx, h, k) })
	}
}

func testWatchMemory(t *testing.T, ctx context.Context, h *testLab, k string) {
	m := h.guest(t, ctx, suites.Guest{Kernel: k, VCPUs: 2, MemoryMiB: 192, Boot: suites.Distro})
	release, read := watchWithoutFile(t, m, agent.GuestName, "exec-step")
	if _, version, _ := strings.Cut(k, "-"); !strings.HasPrefix(release, version+".") || read.Slide == 0 {
		t.Errorf("%s: Linux %s, %+v", k, release, read)
	}
}
