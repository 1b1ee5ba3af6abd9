package trap

import (
	"slices"
	"strings"
	"testing"

	"hangbench/monitor/driver"
)

const switchVA = 0xffffffff810081e0

// fakeHost is a session of which a trap needs nothing but names and numbers.
type fakeHost struct {
	Host
	site  Site
	vcpus int
}

func (h *fakeHost) Site() *Site { return &h.site }
func (h *fakeHost) VCPUs() int  { return h.vcpus }

// Function knows one function besides the trap's on its page, and one that begins
// before the page.
func (h *fakeHost) Function(addr uint64) (string, uint64, bool) {
	switch {
	case addr >= switchVA+0x40 && addr < switchVA+0x80:
		return "other", addr - (switchVA + 0x40), true
	case addr < switchVA:
		return "before", addr - (switchVA&^0xfff - 0x100), true
	}
	return "", 0, false
}

// TestBegins: a pass begins where a function of the trapped page does, known by name
// or not.
func TestBegins(t *testing.T) {
	t.Parallel()
	h := &fakeHost{site: Site{VA: switchVA}}
	e := findEntries(h)
	for rip, want := range map[uint64]bool{switchVA: true, switchVA + 0x40: true, switchVA + 0x44: false,
		switchVA + 0x50: false, switchVA + 0x80: false, switchVA + 0x40 + 0x1000: false, switchVA &^ 0xfff: false} {
		if got := e.begins(&h.site, &driver.Event{RIP: rip}); got != want {
			t.Errorf("%#x: %v, want %v", rip, got, want)
		}
	}
}

// TestMechanisms: the traits of a mechanism agree with each other and with its trap.
func TestMechanisms(t *testing.T) {
	t.Parallel()
	if _, err := Find("exec-magic"); err == nil || !strings.Contains(err.Error(), "exec-altp2m") {
		t.Errorf("unknown mechanism: %v", err)
	}
	site := Site{VA: switchVA, GFN: 7, Counters: []Place{{GFN: 8}, {GFN: 9}}}
	for _, m := range Mechanisms() {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			if same, err := Find(m.Name); err != nil || same.Traps != m.Traps {
				t.Errorf("Find: %q, %v", same.Traps, err)
			}
			if m.Traps == "" || m.Miss == "" || m.Needs == "" {
				t.Error("it does not say what it traps, misses and needs")
			}
			if m.Watches() != (m.Name != "none") {
				t.Errorf("Watches() = %v", m.Watches())
			}
			if strings.HasSuffix(m.Name, "altp2m") != (m.View == Altp2m) && m.Name != "exec-altp2m-fast" {
				t.Errorf("view %q", m.View)
			}
			if m.Opens != (m.View != NoView) {
				t.Errorf("Opens = %v with a trap in the view %q", m.Opens, m.View)
			}
			if restricts := m.Traced != driver.AccessRWX; restricts != (len(m.Trapped(&site)) > 0) {
				t.Errorf("access %d is left on the frames %v", m.Traced, m.Trapped(&site))
			}
			if m.PageTrap && len(m.Trapped(&site)) == 0 {
				t.Error("it traps pages and names none")
			}
			if m.TwinOf != "" {
				if twin, err := Find(m.TwinOf); err != nil || m.View != Altp2m || twin.View != HostView {
					t.Errorf("in view %q it is the twin of %q in view %q: %v", m.View, m.TwinOf, twin.View, err)
				}
			}
			if !m.Watches() {
				return
			}
			tr := m.New(&fakeHost{site: site, vcpus: 2})
			if _, ok := tr.(Suspender); ok != m.Opens {
				t.Errorf("Opens = %v, it can be suspended: %v", m.Opens, ok)
			}
		})
	}
}

// TestTrapped: a mechanism names the frames that it restricts.
func TestTrapped(t *testing.T) {
	t.Parallel()
	site := Site{VA: switchVA, GFN: 7, Counters: []Place{{GFN: 8}, {GFN: 9}}}
	for name, want := range map[string][]uint64{"poll": nil, "cr3": nil, "exec-step": {7}, "int3-step": nil,
		"int3-altp2m": {7}, "write-altp2m": {8, 9}} {
		m, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Trapped(&site); !slices.Equal(got, want) {
			t.Errorf("%s: frames %v, want %v", name, got, want)
		}
	}
}
