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
	// maxChunks bounds what is mapped, to 4096 pages.
	maxChunks = 256
	// maxAge is how long pages stay mapped. Xen keeps a frame that the guest gives
	// back as long as it is mapped somewhere: reading it is safe, but it is not the
	// guest's memory any more.
	maxAge = 3 * time.Second
	// ageReads is after how many reads the age is looked at: asking for the time
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
// system call. All mappings are dropped when there are too many or they are too
// old, and a page that could not be mapped is tried again then.
type memory struct {
	mapFrames func(gfns []uint64) (pages, error)
	now       func() time.Time

	mu     sync.Mutex
	chunks map[uint64]*chunk // by the first frame's number
	quick  [256]*chunk       // some of them, at the low bits of that number / chunkPages
	gfns   [chunkPages]uint64
	since  time.Time // when the first of the chunks was mapped
	reads  int       // since the age was looked at
}

type chunk struct {
	first uint64 // number of the first frame
	pages pages  // nil if nothing of it could be mapped
	err   error  // then
	mem   [chunkPages][]byte
}

func newMemory(mapFrames func([]uint64) (pages, error), now func() time.Time) *memory {
	return &memory{mapFrames: mapFrames, now: now, chunks: make(map[uint64]*chunk)}
}

// maxPhysical is above every guest-physical address: no x86-64 CPU has more
// address bits (Intel SDM volume 3, 4.1.4).
const maxPhysical = 1 << 52

// read fills b from the guest-physical address gpa.
func (m *memory) read(gpa uint64, b []byte) error {
	if gpa >= maxPhysical || uint64(len(b)) > maxPhysical-gpa {
		return fmt.Errorf("%d bytes of guest memory at %#x: no such address", len(b), gpa)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reads++; m.reads >= ageReads {
		m.reads = 0
		if len(m.chunks) > 0 && m.now().Sub(m.since) > maxAge {
			if err := m.drop(); err != nil {
				return err
			}
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

// chunk returns the chunk that begins with the frame first, mapping it if need
// be. The error is that old mappings could not be dropped; one to map is in the
// chunk.
func (m *memory) chunk(first uint64) (*chunk, error) {
	c, ok := m.chunks[first]
	if !ok {
		if len(m.chunks) >= maxChunks {
			if err := m.drop(); err != nil {
				return nil, err
			}
		}
		if len(m.chunks) == 0 {
			m.since = m.now()
		}
		for i := range m.gfns {
			m.gfns[i] = first + uint64(i)
		}
		c = &chunk{first: first}
		p, err := m.mapFrames(m.gfns[:])
		if c.err = err; err == nil {
			c.pages = p
			for i := range c.mem {
				c.mem[i] = p.Page(i) // nil if it is not there: it must not be touched
			}
		}
		m.chunks[first] = c
	}
	m.quick[first/chunkPages%uint64(len(m.quick))] = c
	return c, nil
}

// drop unmaps everything.
func (m *memory) drop() error {
	var first error
	for at, c := range m.chunks {
		if c.pages != nil {
			if err := c.pages.Close(); err != nil && first == nil {
				first = fmt.Errorf("unmap guest frame %#x: %w", at, err)
			}
		}
	}
	clear(m.chunks)
	clear(m.quick[:])
	return first
}

// close unmaps everything. The memory may be read again after.
func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drop()
}
