package kernelcheck

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"time"

	"hangbench/guests/beat"
	"hangbench/guests/kernel"
	"hangbench/scenarios/inject"
)

// image is a kernel image as an injector's target: its memory is the image, with the few
// variables that the kernel fills in when it boots. Each vCPU stands where the last code
// was written, as if it had just come there. Time passes only while an injector waits.
type image struct {
	kernel  *kernel.Kernel
	profile *kernel.Profile
	segs    []segment
	written map[uint64]byte // over the image
	lock    uint64          // the byte that was read last by itself, which may be a lock's
	code    uint64          // where code was written last
	now     int64
	uses    inject.Resources
	ended   string
}

var _ inject.Target = (*image)(nil)

// segment is a part of the image that is loaded.
type segment struct {
	addr uint64
	data []byte
}

const (
	// fakeTask is an address as a task could have it.
	fakeTask = 0xffff888000001000
	// fakePerCPU is where the variables of CPU 0 lie if a kernel counts them from 0.
	fakePerCPU = 0xffff888100000000
	// imageVCPUs is the number of vCPUs: that of the largest guest that a scenario asks for.
	imageVCPUs = 2
	// imageMemory is more memory than a scenario leaves a guest.
	imageMemory = 8 << 30
	// preemptLazy is the mode of preemption of a kernel that has the choice and preempts
	// (kernel/sched/core.c).
	preemptLazy = 3
	// fakeKHz is the frequency of the time-stamp counter, which the kernel measures.
	fakeKHz = 2_000_000
)

func newImage(k *kernel.Kernel, p *kernel.Profile) (*image, error) {
	f, err := elf.NewFile(bytes.NewReader(k.ELF))
	if err != nil {
		return nil, fmt.Errorf("parse kernel ELF: %w", err)
	}
	m := &image{kernel: k, profile: p, written: map[uint64]byte{},
		uses: inject.Resources{VCPUs: imageVCPUs, Memory: imageMemory}}
	for _, ph := range f.Progs {
		if ph.Type == elf.PT_LOAD && ph.Off <= uint64(len(k.ELF)) && ph.Filesz <= uint64(len(k.ELF))-ph.Off {
			m.segs = append(m.segs, segment{ph.Vaddr, k.ELF[ph.Off : ph.Off+ph.Filesz]})
		}
	}
	word := func(name string, at, v uint64) {
		if s, ok := k.Symbols.Lookup(name); ok {
			m.write(s.Addr+at, binary.LittleEndian.AppendUint64(nil, v))
		}
	}
	word("kthreadd_task", 0, fakeTask)
	area := uint64(0) // since 6.15 per-CPU variables are linked to addresses
	if s, ok := k.Symbols.Lookup("runqueues"); ok && s.Addr < fakeTask {
		area = fakePerCPU
	}
	for cpu := range uint64(imageVCPUs) {
		word("__per_cpu_offset", 8*cpu, area+cpu<<24)
	}
	// A kernel that has the choice takes the one that asks most of an injector.
	if s, ok := k.Symbols.Lookup("preempt_dynamic_mode"); ok {
		m.write(s.Addr, binary.LittleEndian.AppendUint32(nil, preemptLazy))
	}
	// Injectors that delay count the cycles of a millisecond.
	if s, ok := k.Symbols.Lookup("tsc_khz"); ok {
		m.write(s.Addr, binary.LittleEndian.AppendUint32(nil, fakeKHz))
	}
	return m, nil
}

// read fills b from memory. What is not in the image is zero.
func (m *image) read(va uint64, b []byte) {
	clear(b)
	for _, s := range m.segs {
		if va < s.addr+uint64(len(s.data)) && va+uint64(len(b)) > s.addr {
			if va >= s.addr {
				copy(b, s.data[va-s.addr:])
			} else {
				copy(b[s.addr-va:], s.data)
			}
		}
	}
	for i := range b {
		if c, ok := m.written[va+uint64(i)]; ok {
			b[i] = c
		}
	}
}

func (m *image) write(va uint64, b []byte) {
	for i, c := range b {
		m.written[va+uint64(i)] = c
	}
}

// Symbol returns the address of a symbol as linked. It leaves a function as the kernel
// has it once it has booted: with a no-operation in place of the tracer's call.
func (m *image) Symbol(name string) (uint64, error) {
	s, ok := m.kernel.Symbols.Lookup(name)
	if !ok {
		return 0, fmt.Errorf("the kernel has no symbol %s", name)
	}
	if tracer, ok := m.kernel.Symbols.Lookup("__fentry__"); ok && s.Text {
		for _, at := range []uint64{s.Addr, s.Addr + 4} { // also behind endbr64
			var b [5]byte
			m.read(at, b[:])
			if b[0] == 0xe8 && at+5+uint64(int64(int32(binary.LittleEndian.Uint32(b[1:])))) == tracer.Addr {
				m.write(at, []byte{0x0f, 0x1f, 0x44, 0, 0})
			}
		}
	}
	return s.Addr, nil
}

// Size returns the length of a function in bytes.
func (m *image) Size(function string) (uint64, error) {
	s, ok := m.kernel.Symbols.Lookup(function)
	if !ok || s.Size == 0 {
		return 0, fmt.Errorf("the kernel has no function %s of a known size", function)
	}
	return s.Size, nil
}

// Offset returns the offset of a field.
func (m *image) Offset(typ, field string) (uint64, error) {
	f, err := m.profile.Field(typ, field)
	return uint64(f.Offset), err
}

// Translate returns the address itself: physical addresses are the kernel's.
func (m *image) Translate(va uint64) (uint64, error) { return va, nil }

// ReadPhysical reads memory.
func (m *image) ReadPhysical(gpa uint64, b []byte) error {
	if len(b) == 1 {
		m.lock = gpa
	}
	m.read(gpa, b)
	return nil
}

// WritePhysical writes memory.
func (m *image) WritePhysical(gpa uint64, b []byte) error {
	if s, off, ok := m.kernel.Symbols.Find(gpa); ok && s.Text && off == 0 {
		m.code = gpa
	}
	m.write(gpa, b)
	return nil
}

// Pause and Unpause do nothing: nothing runs.
func (m *image) Pause() error   { return nil }
func (m *image) Unpause() error { return nil }

// VCPUs is the number of vCPUs.
func (m *image) VCPUs() int { return imageVCPUs }

// Where returns where a vCPU is.
func (m *image) Where(int) (rip uint64, interrupts bool, err error) { return m.code, true, nil }

// The following are what every guest can do, as far as an image tells.
func (m *image) NMI(context.Context, int) error               { return nil }
func (m *image) Cap(context.Context, int) error               { return nil }
func (m *image) StallDisk(bool) error                         { return nil }
func (m *image) SlowDisk(time.Duration) error                 { return nil }
func (m *image) FailDisk(bool) error                          { return nil }
func (m *image) Mishandle(bool) error                         { return nil }
func (m *image) Checkpoint(context.Context) error             { return nil }
func (m *image) Save(context.Context) error                   { return nil }
func (m *image) Restore(context.Context, time.Duration) error { return nil }
func (m *image) CapControl(context.Context, int) error        { return nil }
func (m *image) FillControl(int) error                        { return nil }
func (m *image) BuildOthers(context.Context, bool) error      { return nil }

// Ask takes a vCPU offline or brings it online.
func (m *image) Ask(_ context.Context, r beat.Request) error {
	switch r {
	case beat.Offline:
		m.uses.VCPUs--
	case beat.Online:
		m.uses.VCPUs++
	}
	return nil
}

// SetVCPUs sets how many vCPUs are online.
func (m *image) SetVCPUs(_ context.Context, n int) error {
	if m.uses.VCPUs = n; n == 0 {
		m.uses.VCPUs = imageVCPUs
	}
	return nil
}

// SetMemory sets how much memory the guest uses.
func (m *image) SetMemory(_ context.Context, mib int) error {
	if m.uses.Memory = uint64(mib) << 20; mib == 0 {
		m.uses.Memory = imageMemory
	}
	return nil
}

// Resources returns what has been set.
func (m *image) Resources() (inject.Resources, error) { return m.uses, nil }

// End ends the guest, and Ended returns how.
func (m *image) End(_ context.Context, how inject.Ending) error {
	m.ended = string(how)
	return nil
}

func (m *image) Ended() (string, error) { return m.ended, nil }

// Now returns the time that injectors have waited.
func (m *image) Now() int64 { return m.now }

// Sleep lets time pass. Meanwhile a task takes the lock that the injector looks at, and one
// is killed in code that has been changed.
func (m *image) Sleep(ctx context.Context, d time.Duration) error {
	m.now += int64(d)
	if s, ok := m.kernel.Symbols.Lookup("die_counter"); ok && m.code != 0 {
		m.write(s.Addr, binary.LittleEndian.AppendUint32(nil, 1))
	}
	if m.lock != 0 {
		m.write(m.lock, []byte{1})
	}
	return ctx.Err()
}
