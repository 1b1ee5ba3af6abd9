//go:build !xen || !cgo

package xenctrl

// Built reports whether this build has the Xen libraries.
const Built = false

func openHypervisor() (Hypervisor, error) { return nil, ErrNotBuilt }

func openStore() (StoreConn, error) { return nil, ErrNotBuilt }
