package xenctrl

import (
	"fmt"
	"sync"
	"time"

	xc "hangbench/cgo/xenctrl"
)

const (
	// chunkPages is how many frames are mapped at once: one system call either way,
	// and what lies next to a page is often read next. It is a power of two.
	chunkPages = 16
	// maxChunks bounds what is mapped, to 64 MiB. The task structures of some
	// thousand threads lie in as many chunks.
	maxChunks = 1024
	// maxAge is how long pages stay mapped at most, as long as anything is read. Xen
	// keeps a frame that the guest gives back as long as it is mapped somewhere:
	// reading it is safe, but it is not the guest's memory any more.
	maxAge = 2 * time.Minute
	// maxMissing is that age for a chunk of which some page could not be mapped: it
	// may be there soon.
	maxMissing = 3 * time.Second
	// ageReads is after how many reads ages are looked at: asking for the time
	// costs more than a read.
	ageReads = 256
)

// pages is guest memory that is mapped, a page or none for each that was asked
// for.
type pages interface {
	Page(i int) []byte
	Err(i int) error
	Close() error
}

// memory is the guest's physical memory, mapped read-only bit by bit as it is
// read. A read of a mapped page is a copy from the guest's own memory and no
// system call.
//
// Mapping a chunk costs as much as thousands of reads. So chunks that were mapped
// together do not go together: each has a life of its own length, between half
// of the longest and the longest, and no read pays for more than a few.
type memory struct {
	mapFrames func(gfns []uint64) (pages, error)
	now       func() time.Time

	mu     sync.Mutex
	chunks map[uint64]*chunk // by the first frame's number
	quick  [1024]*chunk      // some of them, at the low bits of that number / chunkPages
	gfns   [chunkPages]uint64
	reads  int    // since ages were looked at
	spread uint32 // fraction of 1<<32, which sets the length of the next life
}

type chunk struct {
	first uint64 // number of the first frame
	pages pages  // nil if nothing of it could be mapped
	err   error  // then
	mem   [chunkPages][]byte
	until time.Time // the end of its life
}

func newMemory(mapFrames func([]uint64) (pages, error), now func() time.Time) *memory {
	return &memory{mapFrames: mapFrames, now: now, chunks: make(map[uint64]*chunk)}
}

// maxPhysical is above every guest-physical address: no x86-64 CPU has more
// address bits (Intel SDM volume 3, 4.1.4).
const maxPhysical = 1 << 52

// read fills b from the guest-physical address gpa.
func (m *memory) read(gpa uint64, b []byte) error {
	// Nearly every read is in one page that is at hand. There are thousands a
	// second, and this is a third of the instructions of the rest.
	gfn, off := gpa/xc.PageSize, gpa%xc.PageSize
	m.mu.Lock()
	if c := m.quick[gfn/chunkPages%uint64(len(m.quick))]; c != nil && c.first == gfn&^(chunkPages-1) && m.reads < ageReads {
		if mem := c.mem[gfn%chunkPages]; uint64(len(mem)) >= off+uint64(len(b)) {
			m.reads++
			copy(b, mem[off:])
			m.mu.Unlock()
			return nil
		}
	}
	m.mu.Unlock()
	return m.readAny(gpa, b)
}

// readAny is read for all that is not as usual.
func (m *memory) readAny(gpa uint64, b []byte) error {
	if gpa >= maxPhysical || uint64(len(b)) > maxPhysical-gpa {
		return fmt.Errorf("%d bytes of guest memory at %#x: no such address", len(b), gpa)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reads++; m.reads >= ageReads {
		m.reads = 0
		if err := m.dropOld(m.now()); err != nil {
			return err
		}
	}
	for len(b) > 0 {
		gfn := gpa / xc.PageSize
		c := m.quick[gfn/chunkPages%uint64(len(m.quick))]
		if c == nil || c.first != gfn&^(chunkPages-1) {
			var err error
			if c, err = m.chunk(gfn &^ (chunkPages - 1)); err != nil {
				return err
			}
		}
		mem := c.mem[gfn%chunkPages]
		if mem == nil {
			return c.failure(gfn)
		}
		n := copy(b, mem[gpa%xc.PageSize:])
		b, gpa = b[n:], gpa+uint64(n)
	}
	return nil
}

// failure says why a frame is not mapped.
func (c *chunk) failure(gfn uint64) error {
	err := c.err
	if c.pages != nil {
		err = c.pages.Err(int(gfn % chunkPages))
	}
	if err == nil {
		return fmt.Errorf("map guest frame %#x: no memory there", gfn)
	}
	return fmt.Errorf("map guest frame %#x: %w", gfn, err)
}

// golden is the golden ratio's fraction of 1<<32: its multiples, modulo that,
// are spread evenly, however many there are.
const golden = 0x9e3779b9

// life is how long the next chunk stays mapped: more than half of most.
func (m *memory) life(most time.Duration) time.Duration {
	m.spread += golden
	return most - time.Duration(uint64(most)/2*uint64(m.spread>>8)>>24)
}

// chunk returns the chunk that begins with the frame first, mapping it if need
// be. The error is that another could not be dropped for it; one to map is in the
// chunk.
func (m *memory) chunk(first uint64) (*chunk, error) {
	c, ok := m.chunks[first]
	if !ok {
		if len(m.chunks) >= maxChunks {
			// Any one: of those that are read in turn, the oldest would be needed next.
			for _, other := range m.chunks {
				if err := m.drop(other); err != nil {
					return nil, err
				}
				break
			}
		}
		for i := range m.gfns {
			m.gfns[i] = first + uint64(i)
		}
		c = &chunk{first: first}
		age := maxAge
		p, err := m.mapFrames(m.gfns[:])
		if c.err = err; err == nil {
			c.pages = p
			for i := range c.mem {
				// nil if it is not there: it must not be touched
				if c.mem[i] = p.Page(i); c.mem[i] == nil {
					age = maxMissing
				}
			}
		} else {
			age = maxMissing
		}
		c.until = m.now().Add(m.life(age))
		m.chunks[first] = c
	}
	m.quick[first/chunkPages%uint64(len(m.quick))] = c
	return c, nil
}

// drop unmaps a chunk.
func (m *memory) drop(c *chunk) error {
	delete(m.chunks, c.first)
	if q := &m.quick[c.first/chunkPages%uint64(len(m.quick))]; *q == c {
		*q = nil
	}
	if c.pages != nil {
		if err := c.pages.Close(); err != nil {
			return fmt.Errorf("unmap guest frame %#x: %w", c.first, err)
		}
	}
	return nil
}

// dropOld unmaps the chunks whose life has ended at now, and returns the first
// error.
func (m *memory) dropOld(now time.Time) (first error) {
	for _, c := range m.chunks {
		if now.Before(c.until) {
			continue
		}
		if err := m.drop(c); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// forget unmaps the chunk that holds a frame, because another frame takes its
// place or none.
func (m *memory) forget(gfn uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.chunks[gfn&^(chunkPages-1)]; ok {
		return m.drop(c)
	}
	return nil
}

// close unmaps everything and returns the first error. The memory may be read
// again after.
func (m *memory) close() (first error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.chunks {
		if err := m.drop(c); err != nil && first == nil {
			first = err
		}
	}
	return first
}
