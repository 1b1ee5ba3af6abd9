package xenctrl

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// TraceConfig selects what Xen traces.
type TraceConfig struct {
	// Pages is the size of each physical CPU's buffer in pages; 0 means 64. Xen
	// allocates the buffers at the first trace. Later values have no effect.
	Pages uint
	// Events is a union of TraceEntryExit, TraceHandlers, TraceRunstate and
	// TracePVEntry.
	Events uint32
	// CPUs are the physical CPUs to trace. Empty means all.
	CPUs []int
}

// Trace reads Xen's trace buffers. The host has one set of them: another reader, such
// as xentrace, would take records away. A Trace belongs to one goroutine.
type Trace struct {
	hv    Hypervisor
	maps  []*Mapping
	rings []traceRing
	rec   Record
	stats TraceStats
}

// OpenTrace empties the buffers and starts tracing. (xc_tbuf_set_cpu_mask,
// xc_tbuf_set_evt_mask, xc_tbuf_enable)
func (x *Xen) OpenTrace(c TraceConfig) (*Trace, error) {
	if c.Events == 0 {
		return nil, errors.New("trace: TraceConfig.Events is 0")
	}
	if c.Pages == 0 {
		c.Pages = 64
	}
	n, size, err := x.hv.CPUs()
	if err != nil {
		return nil, err
	}
	if len(c.CPUs) == 0 {
		for i := range n {
			c.CPUs = append(c.CPUs, i)
		}
	}
	mask, err := cpuMask(c.CPUs, size)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	// Set the masks first: enabling starts the trace.
	if err := x.hv.SetTraceMasks(c.Events, mask); err != nil {
		return nil, err
	}
	mfn, bytes, err := x.hv.EnableTrace(c.Pages)
	if err != nil {
		return nil, err
	}
	t := &Trace{hv: x.hv}
	if err := t.mapBuffers(mfn, bytes, n); err != nil {
		return nil, joinClose(err, t.Close())
	}
	for i := range t.rings {
		t.rings[i].discard() // records that an earlier reader has left
	}
	return t, nil
}

// maxTraceInfo is the largest size of struct t_info in bytes. It is a few pages.
const maxTraceInfo = 1 << 20

func (t *Trace) mapBuffers(mfn, size uint64, cpus int) error {
	if size == 0 || size > maxTraceInfo || size%PageSize != 0 {
		return fmt.Errorf("trace buffer directory of %d bytes: %w", size, ErrCorrupt)
	}
	frames := make([]uint64, size/PageSize)
	for i := range frames {
		frames[i] = mfn + uint64(i)
	}
	info, err := t.mapXen(ReadOnly, frames)
	if err != nil {
		return fmt.Errorf("map the trace buffers' directory: %w", err)
	}
	lists, err := traceFrames(info, cpus)
	if err != nil {
		return err
	}
	for cpu, frames := range lists {
		if frames == nil {
			continue
		}
		buf, err := t.mapXen(ReadWrite, frames)
		if err != nil {
			return fmt.Errorf("map the trace buffer of CPU %d: %w", cpu, err)
		}
		t.rings = append(t.rings, traceRing{cpu: cpu, buf: buf})
	}
	if len(t.rings) == 0 {
		return fmt.Errorf("trace: Xen has no trace buffer: %w", ErrUnsupported)
	}
	return nil
}

// mapXen maps Xen's own pages.
func (t *Trace) mapXen(p Prot, frames []uint64) ([]byte, error) {
	m, err := mapPages(t.hv, domXen, p, frames)
	if err != nil {
		return nil, err
	}
	t.maps = append(t.maps, m)
	if m.Bytes() == nil {
		for i := range frames {
			if err := m.Err(i); err != nil {
				return nil, err
			}
		}
	}
	return m.Bytes(), nil
}

// traceFrames returns the machine frames of each CPU's buffer, nil for a CPU without
// one, from struct t_info:
//
//	uint16 tbuf_size (pages), uint16 mfn_offset[cpus] (in 32-bit words, 0: none), lists of uint32
func traceFrames(info []byte, cpus int) ([][]uint64, error) {
	bad := func(what string, v int) ([][]uint64, error) {
		return nil, fmt.Errorf("trace buffer directory: %s %d in %d bytes: %w", what, v, len(info), ErrCorrupt)
	}
	if cpus < 0 || len(info) < 2+2*cpus {
		return bad("CPU count", cpus)
	}
	pages := int(binary.LittleEndian.Uint16(info))
	if pages == 0 {
		return bad("buffer size", pages)
	}
	lists := make([][]uint64, cpus)
	for cpu := range lists {
		off := 4 * int(binary.LittleEndian.Uint16(info[2+2*cpu:]))
		if off == 0 {
			continue
		}
		if off+4*pages > len(info) {
			return bad("frame list at", off)
		}
		frames := make([]uint64, pages)
		for i := range frames {
			frames[i] = uint64(binary.LittleEndian.Uint32(info[off+4*i:]))
		}
		lists[cpu] = frames
	}
	return lists, nil
}

// Drain calls f for every record in the buffers: CPU by CPU, and in the order of their
// making on each. f must not keep the record, which is reused. Xen drops records if a
// buffer is full and counts them, so drain often. An error says that a buffer was
// corrupt; the others were drained.
func (t *Trace) Drain(f func(*Record)) error {
	var err error
	for i := range t.rings {
		if e := t.rings[i].drain(&t.rec, &t.stats, f); e != nil {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Stats returns the counters since the trace was opened.
func (t *Trace) Stats() TraceStats { return t.stats }

// Stop stops tracing. The records in the buffers can still be drained.
// (xc_tbuf_disable)
func (t *Trace) Stop() error { return t.hv.DisableTrace() }

// Close stops tracing and unmaps the buffers.
func (t *Trace) Close() error {
	if t.hv == nil {
		return ErrClosed
	}
	err := t.hv.DisableTrace()
	for _, m := range t.maps {
		err = errors.Join(err, m.Close())
	}
	t.maps, t.rings, t.hv = nil, nil, nil
	return err
}
