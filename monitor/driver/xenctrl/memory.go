package xenctrl

import (
	"fmt"
	"sync"
	"time"

	xc "hangbench/cgo/xenctrl"
)

const (
	// chunkPages is the number of frames of a chunk, which are mapped at once. Mapping
	// takes one system call for any number of frames, and neighbours of a page are often
	// read next. It must be a power of two.
	chunkPages = 16
	// maxChunks is the largest number of mapped chunks; they have 64 MiB. The task
	// structures of some thousand threads lie in as many chunks.
	maxChunks = 1024
	// maxAge is the longest time for which a chunk stays mapped, as long as there are
	// reads. If the guest gives a frame back, Xen keeps the frame while it is mapped.
	// Reading it is safe, but it is not the guest's memory any more.
	maxAge = 2 * time.Minute
	// maxMissing is maxAge for a chunk with a page that could not be mapped: the guest
	// may have memory there soon.
	maxMissing = 3 * time.Second
	// ageReads is the number of reads between two checks of the ages. Reading the clock
	// costs more than a read of memory.
	ageReads = 256
)

// pages is mapped guest memory. *xenctrl.Mapping implements it.
type pages interface {
	Page(i int) []byte
	Err(i int) error
	Close() error
}

// memory reads the guest's physical memory. It maps chunks of it, read-only, as they
// are read. A read of a mapped page copies from the guest's own memory, without a
// system call.
//
// Mapping a chunk costs as much as thousands of reads. Each chunk is dropped at an age
// of its own, between half of the longest age and the longest. So chunks that were
// mapped together are not dropped together, and no read has to map many.
type memory struct {
	mapFrames func(gfns []uint64) (pages, error)
	now       func() time.Time

	mu     sync.Mutex
	chunks map[uint64]*chunk // by the first frame's number
	quick  [1024]*chunk      // a cache of chunks, by the low bits of that number / chunkPages
	gfns   [chunkPages]uint64
	reads  int    // since the last check of the ages
	spread uint32 // in units of 1/2^32: it sets the age at which the next chunk is dropped
}

type chunk struct {
	first uint64 // number of the first frame
	pages pages  // nil if no page of it could be mapped
	err   error  // the reason, if pages is nil
	mem   [chunkPages][]byte
	until time.Time // when it is dropped
}

func newMemory(mapFrames func([]uint64) (pages, error), now func() time.Time) *memory {
	return &memory{mapFrames: mapFrames, now: now, chunks: make(map[uint64]*chunk)}
}

// maxPhysical is above every guest-physical address: x86-64 CPUs have at most 52 address
// bits (Intel SDM volume 3, 4.1.4).
const maxPhysical = 1 << 52

// read fills b from the guest-physical address gpa. The error is that of the frame that
// cannot be mapped, or of unmapping an old chunk.
func (m *memory) read(gpa uint64, b []byte) error {
	// Nearly every read lies in one mapped page. There are thousands a second, and this
	// takes a third of the instructions of readAny.
	gfn, off := gpa/xc.PageSize, gpa%xc.PageSize
	m.mu.Lock()
	if c := m.quick[gfn/chunkPages%uint64(len(m.quick))]; c != nil && c.first == gfn&^(chunkPages-1) &&
		m.reads < ageReads {
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

// readAny is read for every case.
func (m *memory) readAny(gpa uint64, b []byte) error {
	if gpa >= maxPhysical || uint64(len(b)) > maxPhysical-gpa {
		return fmt.Errorf("read %d bytes of guest memory at %#x: no such address", len(b), gpa)
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

// failure returns why a frame is not mapped.
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

// golden is 2^32 divided by the golden ratio. Its multiples modulo 2^32 are spread
// evenly, for any number of them.
const golden = 0x9e3779b9

// life returns the age at which the next chunk is dropped, between most/2 and most.
func (m *memory) life(most time.Duration) time.Duration {
	m.spread += golden
	return most - time.Duration(uint64(most)/2*uint64(m.spread>>8)>>24)
}

// chunk returns the chunk that begins with the frame first. It maps the chunk if it is
// not mapped, and drops another if there are maxChunks. The error is of that; an error
// of mapping is in the chunk.
func (m *memory) chunk(first uint64) (*chunk, error) {
	c, ok := m.chunks[first]
	if !ok {
		if len(m.chunks) >= maxChunks {
			// Drop any chunk. If chunks are read in turn, the oldest would be read next.
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
				// nil if it is not mapped: an access would end the process
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

// dropOld drops the chunks that are too old at the time now, and returns the first
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

// forget drops the chunk that holds a frame, because the frame has been exchanged, added
// or removed.
func (m *memory) forget(gfn uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.chunks[gfn&^(chunkPages-1)]; ok {
		return m.drop(c)
	}
	return nil
}

// close drops all chunks and returns the first error. The memory can be read again
// after close.
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
