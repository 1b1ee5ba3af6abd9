package xenctrl

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	xc "hangbench/cgo/xenctrl"
)

var errHole = errors.New("no memory at this frame")

// fakeFrames maps the frames of a guest and counts the mappings.
type fakeFrames struct {
	frames      map[uint64][]byte
	maps, holds int
	now         time.Time
	unmap       error
}

type fakePages struct {
	f      *fakeFrames
	gfns   []uint64
	closed bool
}

func (p *fakePages) Page(i int) []byte {
	if p.closed {
		panic("page of a closed mapping")
	}
	return p.f.frames[p.gfns[i]]
}

func (p *fakePages) Err(i int) error {
	if p.f.frames[p.gfns[i]] == nil {
		return errHole
	}
	return nil
}

func (p *fakePages) Close() error {
	p.closed = true
	p.f.holds--
	return p.f.unmap
}

func (f *fakeFrames) mapFrames(gfns []uint64) (pages, error) {
	f.maps++
	some := false
	for _, g := range gfns {
		some = some || f.frames[g] != nil
	}
	if !some {
		return nil, errHole
	}
	f.holds++
	return &fakePages{f: f, gfns: append([]uint64(nil), gfns...)}, nil
}

// newFakeFrames has the frames 0 to n-1, each filled with its number.
func newFakeFrames(n int) (*fakeFrames, *memory) {
	f := &fakeFrames{frames: map[uint64][]byte{}, now: time.Unix(0, 0)}
	for i := range n {
		f.frames[uint64(i)] = bytes.Repeat([]byte{byte(i)}, xc.PageSize)
	}
	return f, newMemory(f.mapFrames, func() time.Time { return f.now })
}

func TestMemoryReads(t *testing.T) {
	f, m := newFakeFrames(3 * chunkPages)
	// Over the border of two pages, and of two chunks.
	for _, first := range []uint64{2, chunkPages - 1} {
		b := make([]byte, 8)
		if err := m.read((first+1)*xc.PageSize-4, b); err != nil {
			t.Fatal(err)
		}
		want := append(bytes.Repeat([]byte{byte(first)}, 4), bytes.Repeat([]byte{byte(first + 1)}, 4)...)
		if !bytes.Equal(b, want) {
			t.Errorf("read %x, want %x", b, want)
		}
	}
	if f.maps != 2 {
		t.Errorf("%d mappings for two chunks", f.maps)
	}
	// Live memory, not a copy.
	f.frames[2][100] = 77
	b := make([]byte, 1)
	if err := m.read(2*xc.PageSize+100, b); err != nil || b[0] != 77 {
		t.Errorf("read %d, %v, want what the guest wrote", b[0], err)
	}
	if n := testing.AllocsPerRun(50, func() { m.read(2*xc.PageSize, b) }); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
	if err := m.read(0, nil); err != nil {
		t.Errorf("reading nothing: %v", err)
	}
	if err := m.close(); err != nil || f.holds != 0 {
		t.Errorf("closing: %v, %d mappings left", err, f.holds)
	}
	if err := m.read(2*xc.PageSize, b); err != nil {
		t.Errorf("reading after closing: %v", err)
	}
}

func TestMemoryHoles(t *testing.T) {
	f, m := newFakeFrames(chunkPages)
	delete(f.frames, 3)
	b := make([]byte, 8)
	for _, gpa := range []uint64{3 * xc.PageSize, 3*xc.PageSize - 4, chunkPages * xc.PageSize, 1 << 45, maxPhysical - 8} {
		for range 2 { // remembered or not
			if err := m.read(gpa, b); !errors.Is(err, errHole) {
				t.Errorf("read at %#x: %v, want %v", gpa, err, errHole)
			}
		}
	}
	for _, gpa := range []uint64{maxPhysical, maxPhysical - 7, ^uint64(0), ^uint64(0) - 7} {
		if err := m.read(gpa, b); err == nil || !strings.Contains(err.Error(), "no such address") {
			t.Errorf("read at %#x: %v", gpa, err)
		}
	}
	if err := m.read(2*xc.PageSize, b); err != nil {
		t.Errorf("next to a hole: %v", err)
	}
}

// TestMemoryAge: a removed page and an added page are noticed once their chunks are old.
func TestMemoryAge(t *testing.T) {
	f, m := newFakeFrames(chunkPages)
	b := make([]byte, 8)
	read := func(gfn uint64) (err error) {
		for range ageReads {
			err = m.read(gfn*xc.PageSize, b)
		}
		return err
	}
	if err := read(1); err != nil {
		t.Fatal(err)
	}
	if err := read(chunkPages); !errors.Is(err, errHole) {
		t.Fatal(err)
	}
	delete(f.frames, 1)
	f.frames[chunkPages] = make([]byte, xc.PageSize)
	f.now = f.now.Add(maxMissing / 2)
	if err := read(chunkPages); !errors.Is(err, errHole) {
		t.Errorf("mapped again too early: %v", err)
	}
	f.now = f.now.Add(maxMissing / 2)
	if err := read(chunkPages); err != nil {
		t.Errorf("an added page: %v", err)
	}
	f.now = f.now.Add(maxAge/2 - maxMissing)
	if err := read(1); err != nil {
		t.Errorf("dropped too early: %v", err)
	}
	f.now = f.now.Add(maxAge/2 + maxMissing)
	if err := read(1); !errors.Is(err, errHole) {
		t.Errorf("a removed page: %v", err)
	}
}

// TestMemoryGentle: chunks that were mapped together are mapped again a few at a time,
// and no chunk gets too old.
func TestMemoryGentle(t *testing.T) {
	const chunks = 64
	f, m := newFakeFrames(chunks * chunkPages)
	b := make([]byte, 8)
	look := func() {
		for i := range max(chunks, ageReads) {
			if err := m.read(uint64(i%chunks)*chunkPages*xc.PageSize, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	const step = maxAge / chunks // one chunk a step, if each were dropped at maxAge
	look()
	for range 10 * chunks {
		before := f.maps
		f.now = f.now.Add(step)
		look()
		look() // the first drops chunks at its end, which the second maps
		// The mean is 4/3, because chunks are dropped before maxAge.
		if n := f.maps - before; n > chunks/8 {
			t.Fatalf("%d of %d chunks mapped anew within %v", n, chunks, step)
		}
		for _, c := range m.chunks {
			if !f.now.Before(c.until) || c.until.Sub(f.now) > maxAge {
				t.Fatalf("at %v a chunk is mapped until %v", f.now, c.until)
			}
		}
	}
	// Chunks are dropped between maxAge/2 and maxAge.
	if n := f.maps; n < 10*chunks || n > 21*chunks {
		t.Errorf("%d mappings of %d chunks in ten times %v", n, chunks, maxAge)
	}
	if f.holds != chunks {
		t.Errorf("%d mappings held for %d chunks", f.holds, chunks)
	}
}

// TestMemoryForget: after forget an added or removed frame is noticed at once.
func TestMemoryForget(t *testing.T) {
	f, m := newFakeFrames(chunkPages)
	b := make([]byte, 8)
	const added = chunkPages + 3
	if err := m.read(added*xc.PageSize, b); !errors.Is(err, errHole) {
		t.Fatal(err)
	}
	f.frames[added] = make([]byte, xc.PageSize)
	if err := m.forget(added); err != nil {
		t.Fatal(err)
	}
	if err := m.read(added*xc.PageSize, b); err != nil {
		t.Errorf("a frame that was added: %v", err)
	}
	delete(f.frames, added)
	if err := m.forget(added); err != nil || f.holds != 0 {
		t.Errorf("forgotten: %v, %d mappings left", err, f.holds)
	}
	if err := m.read(added*xc.PageSize, b); !errors.Is(err, errHole) {
		t.Errorf("a frame that was removed: %v", err)
	}
	if err := m.forget(1 << 40); err != nil {
		t.Errorf("forgetting a frame that is not mapped: %v", err)
	}
}

// TestMemoryBound: at most maxChunks chunks are mapped, and one is dropped for each
// further one.
func TestMemoryBound(t *testing.T) {
	f, m := newFakeFrames(0)
	for i := range uint64(3 * maxChunks) {
		f.frames[i*chunkPages] = bytes.Repeat([]byte{byte(i)}, xc.PageSize)
	}
	b := make([]byte, 1)
	for i := range uint64(3 * maxChunks) {
		if err := m.read(i*chunkPages*xc.PageSize, b); err != nil || b[0] != byte(i) {
			t.Fatalf("chunk %d: %d, %v", i, b[0], err)
		}
		if want := min(int(i)+1, maxChunks); f.holds != want {
			t.Fatalf("%d mappings after %d chunks, want %d", f.holds, i+1, want)
		}
	}
	f.unmap = errors.New("unmap failed")
	if err := m.close(); !errors.Is(err, f.unmap) {
		t.Errorf("closing: %v", err)
	}
}

func BenchmarkMemoryRead(b *testing.B) {
	_, m := newFakeFrames(4 * chunkPages)
	buf := make([]byte, 8)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		if err := m.read(i%(4*chunkPages)*xc.PageSize, buf); err != nil {
			b.Fatal(err)
		}
	}
}
