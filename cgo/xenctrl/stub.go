//go:build !xen || !cgo

package xenctrl

// Built tells whether this build has the Xen libraries.
const Built = false

func openHypervisor() (hypervisor, error) { return nil, ErrNotBuilt }

func openStore() (storeConn, error) { return nil, ErrNotBuilt }
