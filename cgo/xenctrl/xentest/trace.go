package xentest

import (
	"encoding/binary"
	"syscall"

	"hangbench/cgo/xenctrl"
)

// tracer is Xen's trace buffers (xen/common/trace.c): a directory, struct t_info,
// and a buffer for each physical CPU, struct t_buf. Xen makes them once.
type tracer struct {
	on     bool
	events uint32
	cpus   []byte
	first  uint64 // frame of the directory, 0 before the buffers are made
	pages  int    // of a buffer
	frames int    // in all, from first on
	arena  []byte // of these frames
	lost   []uint32
	owner  []*VCPU // of each physical CPU, by the last record of a runstate
}

// Offsets in struct t_buf, and kinds of records of Xen's public trace.h.
const (
	bufCons = 0
	bufProd = 4
	bufData = 8

	recordLost     = 0x0001f001 // TRC_LOST_RECORDS
	recordWrap     = 0x0001f002 // TRC_TRACE_WRAP_BUFFER
	recordVMEntry  = 0x00081001 // TRC_HVM_VMENTRY
	recordVMExit64 = 0x00081102 // TRC_HVM_VMX_EXIT64
	recordNPF      = 0x00082021 // TRC_HVM_NPF
	recordRunstate = 0x00021001 // TRC_SCHED_RUNSTATE_CHANGE
)

func (t *tracer) owns(mfn uint64) bool {
	return t.first != 0 && mfn >= t.first && mfn < t.first+uint64(t.frames)
}

func (x *handle) SetTraceMasks(events uint32, cpus []byte) error {
	defer x.h.lock()()
	if err := x.h.enter("xc_tbuf_set_cpu_mask"); err != nil {
		return err
	}
	if err := x.h.enter("xc_tbuf_set_evt_mask"); err != nil {
		return err
	}
	x.h.trace.events, x.h.trace.cpus = events, append([]byte(nil), cpus...)
	return nil
}

func (x *handle) EnableTrace(pages uint) (mfn, size uint64, err error) {
	defer x.h.lock()()
	if err := x.h.enter("xc_tbuf_enable"); err != nil {
		return 0, 0, err
	}
	t, mem := &x.h.trace, x.h.mem
	if t.first == 0 {
		frames := 1 + x.h.pcpus*int(pages)
		if mem.used+uint64(frames) > maxFrames || pages == 0 || frames*4 > pageSize/2 {
			return 0, 0, failed("xc_tbuf_enable", syscall.ENOMEM)
		}
		t.first, t.pages, t.frames = mem.used, int(pages), frames
		mem.used += uint64(frames)
		t.arena = mem.arena[t.first*pageSize : (t.first+uint64(frames))*pageSize]
		t.lost = make([]uint32, x.h.pcpus)
		binary.LittleEndian.PutUint16(t.arena, uint16(pages))
		list := (2 + 2*x.h.pcpus + 3) / 4 // in words of 32 bits
		for cpu := range x.h.pcpus {
			binary.LittleEndian.PutUint16(t.arena[2+2*cpu:], uint16(list))
			for i := range t.pages {
				binary.LittleEndian.PutUint32(t.arena[4*list:], uint32(t.first)+1+uint32(cpu*t.pages+i))
				list++
			}
		}
	}
	t.on, t.owner = true, make([]*VCPU, x.h.pcpus)
	return t.first, pageSize, nil
}

func (x *handle) DisableTrace() error {
	defer x.h.lock()()
	if err := x.h.enter("xc_tbuf_disable"); err != nil {
		return err
	}
	x.h.trace.on = false
	return nil
}

// wants reports whether a record passes the masks.
func (t *tracer) wants(cpu int, event uint32) bool {
	return t.on && t.cpus[cpu/8]>>(cpu%8)&1 != 0 && t.events>>16&(event>>16) != 0 && t.events>>12&(event>>12)&0xf != 0
}

// record makes a record of a physical CPU.
func (h *Host) record(cpu int, event uint32, timed bool, extra ...uint32) {
	t := &h.trace
	if !t.wants(cpu, event) {
		return
	}
	buf := t.arena[pageSize*(1+cpu*t.pages):][:pageSize*t.pages]
	if lost := t.lost[cpu]; lost > 0 {
		// TRC_LOST_RECORDS: how many, the vCPU, and when the first was.
		if !put(buf, encode(recordLost, h.tsc, lost, 0, uint32(h.tsc), uint32(h.tsc>>32))) {
			t.lost[cpu]++
			return
		}
		t.lost[cpu] = 0
	}
	tsc := uint64(0)
	if timed {
		tsc = h.tsc
	}
	if !put(buf, encode(event, tsc, extra...)) {
		t.lost[cpu]++
	}
}

// encode encodes a record. tsc 0 means none.
func encode(event uint32, tsc uint64, extra ...uint32) []byte {
	head := event | uint32(len(extra))<<28
	if tsc != 0 {
		head |= 1 << 31
	}
	b := binary.LittleEndian.AppendUint32(nil, head)
	if tsc != 0 {
		b = binary.LittleEndian.AppendUint64(b, tsc)
	}
	for _, w := range extra {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// put puts a record in a buffer, or returns false if it is full. Positions count
// modulo twice the size of the data. Records do not wrap: a padding record fills
// the end.
func put(buf, rec []byte) bool {
	data := buf[bufData:]
	size := uint32(len(data))
	cons, prod := binary.LittleEndian.Uint32(buf[bufCons:]), binary.LittleEndian.Uint32(buf[bufProd:])
	used := (prod + 2*size - cons) % (2 * size)
	end := size - prod%size
	need := uint32(len(rec))
	if need > end {
		need += end
	}
	if used+need > size {
		return false
	}
	for uint32(len(rec)) > end && end > 0 {
		// At most seven words in a record of padding.
		n := min(end, 32)
		copy(data[prod%size:], encode(recordWrap, 0, make([]uint32, n/4-1)...))
		prod, end = (prod+n)%(2*size), end-n
	}
	copy(data[prod%size:], rec)
	binary.LittleEndian.PutUint32(buf[bufProd:], (prod+uint32(len(rec)))%(2*size))
	return true
}

// running records that a vCPU has its physical CPU, unless it had it before.
func (h *Host) running(v *VCPU) {
	if !h.trace.on || h.trace.owner[v.pcpu] == v {
		return
	}
	h.trace.owner[v.pcpu] = v
	h.record(v.pcpu, recordRunstate|uint32(xenctrl.RunstateRunnable)<<8|uint32(xenctrl.RunstateRunning)<<4, true,
		uint32(v.g.id)<<16|uint32(v.id))
}

// violation records an exit for an EPT violation, the violation, and the entry after it.
func (h *Host) violation(v *VCPU, gpa, mfn uint64, qual xenctrl.NPFQual) {
	rip := v.registers().RIP
	h.running(v)
	h.record(v.pcpu, recordVMExit64, true, uint32(xenctrl.ExitEPTViolation), uint32(rip), uint32(rip>>32))
	h.record(v.pcpu, recordNPF, false, uint32(gpa), uint32(gpa>>32), uint32(mfn), uint32(mfn>>32), uint32(qual),
		uint32(xenctrl.P2MRAM))
	h.record(v.pcpu, recordVMEntry, true)
}
