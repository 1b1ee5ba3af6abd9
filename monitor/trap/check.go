package trap

import (
	"errors"
	"fmt"

	"hangbench/monitor/driver"
)

// checkAccess returns an error if the guest's access to a frame in a view is not
// the wanted one.
func checkAccess(h Host, v driver.View, gfn uint64, want driver.Access) error {
	got, err := h.Ring().Access(v, gfn)
	if err != nil {
		return fmt.Errorf("check the trap: %w", err)
	}
	if got != want {
		return fmt.Errorf("check the trap: access of frame %#x in view %d is %d, not %d", gfn, v, got, want)
	}
	return nil
}

// checkView returns an error unless every vCPU that is online is in the view and
// the view gives the wanted access to the frame.
func checkView(h Host, v driver.View, gfn uint64, want driver.Access) error {
	errs := []error{checkAccess(h, v, gfn, want)}
	for i := range h.VCPUs() {
		if !h.Online(i) {
			continue
		}
		in, err := h.Ring().CurrentView(i)
		if err == nil && in != v {
			err = fmt.Errorf("vCPU %d is in view %d, not %d", i, in, v)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("check the trap: %w", err))
		}
	}
	return errors.Join(errs...)
}
