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

// fakeFrames maps frames of a guest that has some, and counts.
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

// TestMemoryAge: a page that goes away, and one that comes, are noticed once the
// mappings are old.
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
	f.now = f.now.Add(maxAge)
	if err := read(chunkPages); !errors.Is(err, errHole) {
		t.Errorf("dropped before its time: %v", err)
	}
	f.now = f.now.Add(1)
	if err := read(chunkPages); err != nil {
		t.Errorf("a page that came: %v", err)
	}
	if err := read(1); !errors.Is(err, errHole) {
		t.Errorf("a page that went: %v", err)
	}
}

// TestMemoryBound: however much is read, little stays mapped.
func TestMemoryBound(t *testing.T) {
	f, m := newFakeFrames(3 * maxChunks * chunkPages)
	b := make([]byte, 1)
	most := 0
	for gfn := uint64(0); gfn < 3*maxChunks*chunkPages; gfn += chunkPages {
		if err := m.read(gfn*xc.PageSize, b); err != nil || b[0] != byte(gfn) {
			t.Fatalf("frame %#x: %d, %v", gfn, b[0], err)
		}
		most = max(most, f.holds)
	}
	if most > maxChunks {
		t.Errorf("%d mappings at once, want at most %d", most, maxChunks)
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
