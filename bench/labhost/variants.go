package labhost

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"hangbench/guests/lab"
	"hangbench/scenarios/suites"
)

// variants are the hosts of other labs that were needed so far.
type variants struct {
	mu sync.Mutex
	of map[lab.Variant]*Host
}

// variantOf returns the lab that such guests need.
func variantOf(g suites.Guest) lab.Variant {
	return lab.Variant{
		Superpages: g.Superpages, Programs: g.Programs, Kernel: lab.VariantKernel(g.Kernel),
		Xen: lab.VariantXen(g.XenRelease), HVM: g.Type == suites.HVM,
	}
}

// Manifests returns the manifests of the labs in which such guests run, by the names
// of their variants; "" is Lab itself. A lab that is needed for the first time is
// built.
func (h *Host) Manifests(ctx context.Context, guests []suites.Guest) (map[string]lab.Manifest, error) {
	all := map[string]lab.Manifest{}
	for _, g := range guests {
		on, err := h.Of(ctx, g)
		if err != nil {
			return nil, err
		}
		all[variantOf(g).String()] = on.Lab.Manifest
	}
	return all, nil
}

// Of returns the host on which such guests run: h, or the host of another lab, which
// is built when it is needed for the first time. It belongs to h: Close releases it.
func (h *Host) Of(ctx context.Context, g suites.Guest) (*Host, error) {
	v := variantOf(g)
	if v == (lab.Variant{}) {
		return h, nil
	}
	if h.Variant == nil {
		return nil, fmt.Errorf("this lab has no guests with %s", v)
	}
	h.variants.mu.Lock()
	defer h.variants.mu.Unlock()
	if other := h.variants.of[v]; other != nil {
		return other, nil
	}
	l, err := h.Variant(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("build the lab for guests with %s: %w", v, err)
	}
	other := &Host{Lab: l, Shim: h.Shim, Log: h.Log}
	if h.variants.of == nil {
		h.variants.of = map[lab.Variant]*Host{}
	}
	h.variants.of[v] = other
	return other, nil
}

// Close releases the labs of other variants. Lab itself belongs to the caller of New.
func (h *Host) Close() error {
	h.variants.mu.Lock()
	defer h.variants.mu.Unlock()
	var errs []error
	for _, other := range h.variants.of {
		errs = append(errs, other.Lab.Close())
	}
	return errors.Join(errs...)
}
