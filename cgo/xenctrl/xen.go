package xenctrl

// Xen is an open handle on the hypervisor. It is safe for concurrent use,
// except for Close.
type Xen struct {
	hv Hypervisor
}

// Open opens the hypervisor. It fails with [ErrNotBuilt] in a build without
// Xen, and with [ErrNoXen] on a machine that is not a Xen control domain.
func Open() (*Xen, error) {
	hv, err := openHypervisor()
	if err != nil {
		return nil, err
	}
	return &Xen{hv: hv}, nil
}

// New is Open on a given hypervisor, for tests (package xentest).
func New(hv Hypervisor) *Xen { return &Xen{hv: hv} }

// Close closes the handle. Close mappings, monitors and traces made from it before.
func (x *Xen) Close() error {
	if x.hv == nil {
		return ErrClosed
	}
	hv := x.hv
	x.hv = nil
	return hv.Close()
}

// Version returns the version of the hypervisor. (xc_version)
func (x *Xen) Version() (Version, error) { return x.hv.Version() }

// Domains lists all domains in the order of their ids. (xc_domain_getinfolist)
func (x *Xen) Domains() ([]DomainInfo, error) {
	var all []DomainInfo
	buf := make([]DomainInfo, 64)
	for first := DomID(0); ; {
		n, err := x.hv.Domains(first, buf)
		if err != nil {
			return nil, err
		}
		all = append(all, buf[:n]...)
		if n < len(buf) {
			return all, nil
		}
		first = buf[n-1].ID + 1
	}
}

// Domain names the domain id. It does not check that the domain exists.
func (x *Xen) Domain(id DomID) Domain { return Domain{x: x, id: id} }
