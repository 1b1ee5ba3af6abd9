package xenctrl

import (
	"fmt"
	"syscall"
)

// Mapping is guest memory mapped into this process.
type Mapping struct {
	hv   Hypervisor
	data []byte
	errs []error // per page, nil if all are mapped
}

// Map maps page frames one after the other, in the order of gfns. It fails if none of
// them can be mapped. If some cannot, [Mapping.Err] returns why. The caller closes the
// mapping. (xenforeignmemory_map)
func (d Domain) Map(gfns []uint64, p Prot) (*Mapping, error) {
	if len(gfns) == 0 {
		return nil, fmt.Errorf("map memory of domain %d: no page frames given", d.id)
	}
	return mapPages(d.x.hv, d.id, p, gfns)
}

func mapPages(hv Hypervisor, d DomID, p Prot, gfns []uint64) (*Mapping, error) {
	if p != ReadOnly && p != ReadWrite {
		return nil, fmt.Errorf("map memory of domain %d: protection %d is neither ReadOnly nor ReadWrite", d, p)
	}
	codes := make([]int32, len(gfns))
	data, err := hv.MapForeign(d, p, gfns, codes)
	if err != nil {
		return nil, err
	}
	m := &Mapping{hv: hv, data: data}
	failed := 0
	for i, c := range codes {
		if c == 0 {
			continue
		}
		if m.errs == nil {
			m.errs = make([]error, len(gfns))
		}
		e := newError("xenforeignmemory_map", syscall.Errno(max(c, -c)))
		e.Domain, e.GFN = int(d), gfns[i]
		m.errs[i] = e
		failed++
	}
	if failed == len(gfns) {
		return nil, joinClose(m.errs[0], m.Close())
	}
	return m, nil
}

// joinClose returns err, with the text of an error of cleaning up after it.
func joinClose(err, closeErr error) error {
	if closeErr == nil {
		return err
	}
	return fmt.Errorf("%w (and cleaning up: %v)", err, closeErr)
}

// Pages returns the number of pages, mapped or not.
func (m *Mapping) Pages() int { return len(m.data) / PageSize }

// Err returns why page i is not mapped, or nil if it is.
func (m *Mapping) Err(i int) error {
	if m.errs == nil {
		return nil
	}
	return m.errs[i]
}

// Page returns page i, or nil if it is not mapped. See Bytes.
func (m *Mapping) Page(i int) []byte {
	if m.data == nil || m.Err(i) != nil {
		return nil
	}
	return m.data[i*PageSize : (i+1)*PageSize : (i+1)*PageSize]
}

// Bytes returns all pages as one slice, or nil if one of them is not mapped. The slice
// is the guest's memory. It is valid until Close; an access after that ends the
// process with a fault.
func (m *Mapping) Bytes() []byte {
	if m.errs != nil {
		return nil
	}
	return m.data
}

// Close unmaps the pages. (xenforeignmemory_unmap)
func (m *Mapping) Close() error {
	if m.data == nil {
		return ErrClosed
	}
	data := m.data
	m.data = nil
	return m.hv.Unmap(data)
}
