package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"hangbench/guests/beat"
	"hangbench/guests/stress"
)

// TestParts: every workload is one that this program plays, or needs no process.
func TestParts(t *testing.T) {
	for w := beat.Idle + 1; ; w++ {
		name := w.String()
		if _, err := beat.ParseWorkload(name); err != nil {
			if w < 5 {
				t.Errorf("only %d workloads were looked at", w)
			}
			break
		}
		if parts[name] == nil {
			t.Errorf("nothing plays %s", name)
		}
	}
}

// TestSwapHeader checks it against union swap_header of include/linux/swap.h:
// 1024 bytes for a boot loader, version, last page, number of bad pages, and the
// signature at the end of the page.
func TestSwapHeader(t *testing.T) {
	b := swapHeader(96 << 20)
	le := binary.LittleEndian
	if len(b) != 4096 || le.Uint32(b[1024:]) != 1 || le.Uint32(b[1028:]) != 24575 || le.Uint32(b[1032:]) != 0 || string(b[4086:]) != "SWAPSPACE2" {
		t.Errorf("header %x", b[1024:1040])
	}
}

// TestFlagsRequest: struct ifreq has 40 bytes on 64-bit Linux, the flags behind
// the name.
func TestFlagsRequest(t *testing.T) {
	var r flagsRequest
	if size, off := unsafe.Sizeof(r), unsafe.Offsetof(r.flags); size != 40 || off != 16 {
		t.Errorf("size %d, flags at %d", size, off)
	}
}

func TestMemory(t *testing.T) {
	n, err := memory("MemTotal")
	if err != nil || n < 1<<20 {
		t.Errorf("this machine has %d bytes of memory (%v)", n, err)
	}
	if n, err := memory("NoSuchThing"); err == nil {
		t.Errorf("there are %d bytes of no such thing", n)
	}
}

// TestNaps: a nap is counted for each of its lengths, and the time is measured.
func TestNaps(t *testing.T) {
	s, err := naps(5 * nap)
	if err != nil || s.Ops != 5 || s.NS < uint64(5*nap) || s.Failed || s.Version != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestWork: what nobody knows is refused, and nothing is run for it.
func TestWork(t *testing.T) {
	for _, o := range []beat.Order{{}, {Work: 1 << 40, Seconds: 1}, {Work: uint64(stress.CPU)}, {Work: uint64(stress.CPU), Seconds: stress.Most + 1}} {
		if s, err := work(o); err == nil {
			t.Errorf("%+v came to %+v", o, s)
		}
	}
}

func TestFill(t *testing.T) {
	const size = 1<<20 + 5
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(path); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, make([]byte, size)) {
		t.Errorf("%d bytes, not all of them written (%v)", len(b), err)
	}
	if err := fill(filepath.Join(path, "none")); err == nil {
		t.Error("what is no disk was filled")
	}
}
