package recovery

import (
	"fmt"
	"strconv"

	xc "hangbench/cgo/xenctrl"
)

// Host is a control domain: its hypervisor and its xenstore.
type Host struct {
	Xen   *xc.Xen
	Store *xc.Store
	// OpenStore opens another connection to xenstore. A session needs one of its
	// own, because a connection belongs to one goroutine.
	OpenStore func() (*xc.Store, error)
}

// Find returns the number of the domain of that name or number. The error is
// xenctrl.ErrNoDomain if there is none.
func (h *Host) Find(domain string) (int, error) {
	if n, err := strconv.ParseUint(domain, 10, 15); err == nil {
		if _, err := h.Xen.Domain(xc.DomID(n)).Info(); err == nil {
			return int(n), nil
		}
	}
	id, err := h.Store.DomainByName(domain)
	if err != nil {
		return 0, fmt.Errorf("find domain: %w", err)
	}
	return int(id), nil
}

// Watchable returns the numbers of the domains that can be monitored: HVM and PVH
// guests.
func (h *Host) Watchable() ([]int, error) {
	all, err := h.Xen.Domains()
	if err != nil {
		return nil, err
	}
	var ids []int
	for _, d := range all {
		if d.HVM && !d.Dying {
			ids = append(ids, int(d.ID))
		}
	}
	return ids, nil
}
