package trap

import "hangbench/monitor/driver"

// Site is where a guest's kernel can be trapped: the function that switches tasks,
// and the counters of switches.
type Site struct {
	Symbol string // the function's name
	VA     uint64 // its virtual address
	GFN    uint64 // guest frame that holds its first instruction
	// Counters are the places of the run queues' counts of switches, by CPU. They are
	// missing if the guest's kernel cannot be read; only write-altp2m needs them.
	Counters []Place
}

// Place is where a variable of the guest's kernel lies in its memory.
type Place struct {
	GFN    uint64 // guest frame
	Offset uint64 // in bytes, in the frame
}

// At reports whether the event is at the function's first instruction. A pass over
// it is an access or a step, whichever comes first.
func (s *Site) At(ev *driver.Event) bool { return ev.RIP == s.VA }

// onPage reports whether an address is on the page of the function.
func (s *Site) onPage(rip uint64) bool { return rip>>12 == s.VA>>12 }

// page returns the frame that holds the function.
func (s *Site) page() []uint64 { return []uint64{s.GFN} }

// counters returns the frames that hold the counters, by CPU.
func (s *Site) counters() []uint64 {
	var gfns []uint64
	for _, p := range s.Counters {
		gfns = append(gfns, p.GFN)
	}
	return gfns
}

// Functions begin at multiples of 16 bytes (CONFIG_FUNCTION_ALIGNMENT on x86-64).
const (
	entryAlign = 16
	entrySlots = 4096 / entryAlign
)

// entries are the places on a page where functions begin, as a set of bits.
type entries [entrySlots / 64]uint64

// findEntries returns where on the site's page functions begin.
func findEntries(h Host) (e entries) {
	page := h.Site().VA &^ 0xfff
	for i := range uint64(entrySlots) {
		if _, off, ok := h.Function(page + i*entryAlign); ok && off == 0 {
			e[i/64] |= 1 << (i % 64)
		}
	}
	return e
}

// begins reports whether the event is at the first instruction of a function on the
// site's page: the switch function or another.
func (e *entries) begins(s *Site, ev *driver.Event) bool {
	if s.At(ev) {
		return true
	}
	i := ev.RIP & 0xfff / entryAlign
	return ev.RIP%entryAlign == 0 && s.onPage(ev.RIP) && e[i/64]>>(i%64)&1 != 0
}
