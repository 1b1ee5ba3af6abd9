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
	ageReads = 64
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
	chunks map[uint64]chunk // by the first frame's number
	gfns   [chunkPages]uint64
	since  time.Time // when the first of the chunks was mapped
	reads  int       // since the age was looked at
	last   uint64    // of the chunk read last
	page   chunk
}

type chunk struct {
	pages pages // nil if nothing of it could be mapped
	err   error // then
}

func newMemory(mapFrames func([]uint64) (pages, error), now func() time.Time) *memory {
	return &memory{mapFrames: mapFrames, now: now, chunks: make(map[uint64]chunk)}
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
		c, err := m.chunk(gfn &^ (chunkPages - 1))
		if err != nil {
			return err
		}
		var mem []byte
		if c.pages != nil {
			mem = c.pages.Page(int(gfn % chunkPages))
			c.err = c.pages.Err(int(gfn % chunkPages))
		}
		if mem == nil {
			if c.err == nil {
				return fmt.Errorf("map guest frame %#x: no memory there", gfn)
			}
			return fmt.Errorf("map guest frame %#x: %w", gfn, c.err)
		}
		n := copy(b, mem[gpa%xc.PageSize:])
		b, gpa = b[n:], gpa+uint64(n)
	}
	return nil
}

// chunk returns the chunk that begins with the frame first. The error is that
// old mappings could not be dropped; one to map is in the chunk.
func (m *memory) chunk(first uint64) (chunk, error) {
	if first == m.last && len(m.chunks) > 0 {
		return m.page, nil
	}
	c, ok := m.chunks[first]
	if !ok {
		if len(m.chunks) >= maxChunks {
			if err := m.drop(); err != nil {
				return c, err
			}
		}
		if len(m.chunks) == 0 {
			m.since = m.now()
		}
		for i := range m.gfns {
			m.gfns[i] = first + uint64(i)
		}
		p, err := m.mapFrames(m.gfns[:])
		if c.err = err; err == nil {
			c.pages = p
		}
		m.chunks[first] = c
	}
	m.last, m.page = first, c
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
	m.page = chunk{}
	return first
}

// close unmaps everything. The memory may be read again after.
func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drop()
}
