package dom0_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hangbench/bench/dom0"
	"hangbench/cgo/require"
	"hangbench/guests/kernel"
	"hangbench/monitor/driver"
)

// memory is guest memory: a kernel's image, and page tables in frames of 4 KiB by number.
type memory struct {
	image  []byte // at the guest-physical address imageAt
	gone   uint64 // a frame of the image that cannot be read
	frames map[uint64][]byte
}

const imageAt = 0x40000000

func (m *memory) ReadPhysical(gpa uint64, b []byte) error {
	if off := gpa - imageAt; off < uint64(len(m.image)) && uint64(len(b)) <= uint64(len(m.image))-off {
		if gpa>>12 == m.gone {
			return errors.New("the guest has given this frame back")
		}
		copy(b, m.image[off:])
		return nil
	}
	f, ok := m.frames[gpa>>12]
	if !ok || gpa&0xfff+uint64(len(b)) > 0x1000 {
		return errors.New("no such frame")
	}
	copy(b, f[gpa&0xfff:])
	return nil
}

func (m *memory) write(gpa uint64, b []byte) {
	f, ok := m.frames[gpa>>12]
	if !ok {
		f = make([]byte, 0x1000)
		m.frames[gpa>>12] = f
	}
	copy(f[gpa&0xfff:], b)
}

func (m *memory) put(gpa, v uint64) { m.write(gpa, binary.LittleEndian.AppendUint64(nil, v)) }

// booted returns the memory of a guest that runs a kernel's ELF file, and the registers
// of its vCPU in user space with page-table isolation. Only the interrupt table tells
// where the kernel is, unless lstar is set. If protect is set the kernel protects itself:
// its code is executable, its data is writable, its constants are neither, and large
// pages are used where a page is of one kind. If not, all of it is both.
func booted(t *testing.T, image []byte, k *kernel.Kernel, slide uint64, lstar, protect bool) (*memory,
	driver.Registers) {
	t.Helper()
	const present, writable, large, noExecute = 1, 1 << 1, 1 << 7, 1 << 63
	const pml4, userPML4, pdpt, pd, idtPDPT, idtPD, idtPT, idt, tables = 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000,
		0x8000, 0x9000, 0x100000
	const kernelMap, idtArea = 0xffffffff80000000, 0xfffffe0000000000
	symbol := func(name string) uint64 {
		t.Helper()
		s, ok := k.Symbols.Lookup(name)
		if !ok {
			t.Fatalf("no symbol %s", name)
		}
		return s.Addr + slide
	}
	text, end := symbol("_text"), symbol("_end")&^0xfff
	constants, noConstants := symbol("__start_rodata"), symbol("__end_rodata")&^0xfff
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	m := &memory{image: make([]byte, end-text), frames: map[uint64][]byte{}} // what the file does not have is zero
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || p.Vaddr < text {
			continue // the linker's copy of per-CPU variables
		}
		at := m.image[min(p.Vaddr-text, end-text):] // the last segment ends behind the kernel
		if _, err := p.ReadAt(at[:min(p.Filesz, uint64(len(at)))], 0); err != nil {
			t.Fatal(err)
		}
	}
	physical := func(va uint64) uint64 { return va - text + imageAt }
	rights := func(va uint64) uint64 {
		switch {
		case !protect:
			return present | writable
		case va < constants:
			return present
		case va < noConstants:
			return present | noExecute
		}
		return present | writable | noExecute
	}
	m.put(pml4+8*511, pdpt|present|writable)
	m.put(pdpt+8*510, pd|present|writable)
	for i := range uint64(512) {
		first := kernelMap + i<<21
		if first+1<<21 <= text || first >= end {
			continue
		}
		at, one := pd+8*i, protect
		for va := first; va < first+1<<21; va += 0x1000 {
			one = one && va >= text && va < end && rights(va) == rights(first)
		}
		if one {
			m.put(at, physical(first)|rights(first)|large)
			continue
		}
		m.put(at, tables+i<<12|present|writable)
		for va := max(first, text); va < min(first+1<<21, end); va += 0x1000 {
			m.put(tables+i<<12+8*(va>>12&511), physical(va)|rights(va))
		}
	}
	for _, root := range []uint64{pml4, userPML4} {
		m.put(root+8*(idtArea>>39&511), idtPDPT|present)
	}
	m.put(idtPDPT, idtPD|present)
	m.put(idtPD, idtPT|present)
	m.put(idtPT, idt|present)
	handler := symbol("asm_exc_page_fault")
	gate := binary.LittleEndian.AppendUint16(nil, uint16(handler))
	gate = append(gate, 0x10, 0, 0, 0x8e)
	gate = binary.LittleEndian.AppendUint16(gate, uint16(handler>>16))
	m.write(idt+16*14, binary.LittleEndian.AppendUint32(gate, uint32(handler>>32)))
	r := driver.Registers{CR3: userPML4, IDTBase: idtArea, UserMode: true}
	if lstar {
		r.LSTAR = symbol("entry_SYSCALL_64")
	}
	return m, r
}

// TestProfileInMemory: the profile that is found in the memory of a guest is that of the
// kernel's file, symbol by symbol and field by field, wherever the kernel lies and
// whether or not it protects its constants.
func TestProfileInMemory(t *testing.T) {
	t.Parallel()
	for i, path := range require.KernelImages(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			k, err := kernel.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			want, err := k.Profile(dom0.Fields())
			if err != nil {
				t.Fatal(err)
			}
			table, err := kernel.TrailingRelocations(k.ELF)
			if err != nil {
				t.Fatal(err)
			}
			relocs, err := kernel.ReadRelocations(table)
			if err != nil {
				t.Fatal(err)
			}
			const slide = 0x1d600000
			moved, err := kernel.Relocate(k.ELF, relocs, slide)
			if err != nil {
				t.Fatal(err)
			}
			type guest struct {
				name           string
				image          []byte
				slide          uint64
				lstar, protect bool
			}
			guests := []guest{{"moved", moved, slide, false, true}}
			if i == 0 { // this takes longer
				guests = append(guests, guest{"as linked, in its boot", k.ELF, 0, true, false})
			}
			for _, c := range guests {
				m, r := booted(t, c.image, k, c.slide, c.lstar, c.protect)
				got, read, err := dom0.ProfileInMemory(t.Context(), m, driver.Registers{}, r)
				if err != nil {
					t.Errorf("%s: %v", c.name, err)
					continue
				}
				if read.Slide != c.slide {
					t.Errorf("%s: slide %#x, want %#x", c.name, read.Slide, c.slide)
				}
				for _, d := range dom0.Differences(got, want) {
					t.Errorf("%s: %s", c.name, d)
				}
				if c.protect == (read.Bytes > 20<<20) {
					t.Errorf("%s: %d bytes were read", c.name, read.Bytes)
				}
				t.Logf("%s: %d bytes, %d ns", c.name, read.Bytes, read.NS)
			}
			if i > 0 {
				return
			}
			// A frame that the guest has given back: of its types, then of its page tables.
			m, r := booted(t, moved, k, slide, true, true)
			first, _ := k.Symbols.Lookup("_text")
			btf, _ := k.Symbols.Lookup("__start_BTF")
			m.gone = (btf.Addr + 1<<20 - first.Addr + imageAt) >> 12
			if _, _, err := dom0.ProfileInMemory(t.Context(), m, r); err == nil || !strings.Contains(err.Error(), "BTF") {
				t.Errorf("types that cannot be read: %v", err)
			}
			delete(m.frames, 5) // the table of level 2
			if _, _, err := dom0.ProfileInMemory(t.Context(), m, r); err == nil {
				t.Error("a kernel without page tables has a profile")
			}
		})
	}
}

// TestProfileOfInterrupted: making a profile is not waited for once the context has ended.
func TestProfileOfInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	release, ended := make(chan struct{}), make(chan struct{})
	p, err := dom0.ProfileOf(ctx, func() (*kernel.Kernel, error) {
		defer close(ended)
		cancel()
		select {
		case <-release:
		case <-time.After(10 * time.Second): // it was waited for
		}
		return nil, errors.New("nobody hears this")
	})
	if p != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", p, err)
	}
	close(release)
	<-ended
}
