package labhost_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

// TestInspect reads the kernels of real guests from outside: one where it was
// linked, and one moved and with page-table isolation. With all tests, also guests of type HVM,
// which Linux' own loader has moved. What the guest's memory tells of
// its kernel is what the kernel's file tells.
func TestInspect(t *testing.T) {
	ctx, h := openLab(t, 30*time.Second)
	guests := []suites.Guest{
		{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160},
		{Kernel: "cloud-6.12", VCPUs: 1, MemoryMiB: 160, Boot: suites.Distro},
	}
	if all() { // each of the other kernels needs a lab of its own
		for _, k := range lab.GuestKernels()[1:] {
			guests = append(guests, suites.Guest{Kernel: k, VCPUs: 1, MemoryMiB: 192},
				suites.Guest{Kernel: k, VCPUs: 2, MemoryMiB: 192, Boot: suites.Distro})
		}
		for i, k := range []string{"cloud-6.12", "cloud-6.1"} { // they share a lab
			guests = append(guests,
				suites.Guest{Kernel: k, VCPUs: 1 + i, MemoryMiB: 192, Type: suites.HVM, Boot: suites.Distro})
		}
	}
	for _, g := range guests {
		s, err := h.inspect(ctx, g)
		if err != nil {
			t.Errorf("%+v: %v", g, err)
			continue
		}
		b, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v: %s", g, b)
		if distro := g.Boot == suites.Distro; distro != (s.Slide != 0) || distro != s.Isolated {
			t.Errorf("%+v: slide %#x, page-table isolation %v", g, s.Slide, s.Isolated)
		}
		if len(s.Differences) > 0 || s.InMemory.Slide != s.Slide {
			t.Errorf("%+v: the kernel found in memory is moved by %#x; against its file: %q", g, s.InMemory.Slide, s.Differences)
		}
		if len(s.Queues) != g.VCPUs {
			t.Errorf("%+v: %d run queues", g, len(s.Queues))
		}
		for i, q := range s.Queues {
			if q.Switches == 0 || q.ClockNS == 0 || q.Comm == "" || q.PID == 0 && !strings.HasPrefix(q.Comm, "swapper/") {
				t.Errorf("%+v: run queue %d is %+v", g, i, q)
			}
		}
		k := s.Kernel
		if len(k.Unreadable) > 0 || len(k.Unjudged) > 0 {
			t.Errorf("%+v: not read: %q; not judged: %v", g, k.Unreadable, k.Unjudged)
		}
		if diff := int(k.Threads) - k.Walked; k.Walked < 20 || diff < -2 || diff > 2 {
			t.Errorf("%+v: met %d threads, the kernel counts %d", g, k.Walked, k.Threads)
		}
		if m := k.Memory; m.TotalPages == 0 || m.FreePages == 0 || m.FreePages >= m.TotalPages ||
			m.TotalPages > uint64(g.MemoryMiB)<<8 {
			t.Errorf("%+v: memory %+v", g, m)
		}
		if k.MonotonicNS <= 0 || k.Forks < uint64(k.Walked) || k.Panicking != -1 {
			t.Errorf("%+v: %+v", g, k)
		}
		if !slices.ContainsFunc(s.Callers, func(f string) bool { return f != "" }) {
			t.Logf("%+v: nothing on the stack of vCPU 0: it was in user space", g)
		}
	}
}
