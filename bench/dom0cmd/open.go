package dom0cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/cgo/xenctrl"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
)

// Open opens this machine as a control domain. guests is the folder of guest
// kernels; if it is empty, the folder is the one of the lab's dom0. Monitors watch
// through the driver. The error is an exit.MissingError where there is no control
// domain.
func Open(guests, driver string) (*dom0.Host, error) {
	if guests == "" {
		guests = place.Guests
	}
	h, err := dom0.Open(dom0.Config{Guests: guests, Work: os.TempDir(), Driver: driver})
	if errors.Is(err, xenctrl.ErrNotBuilt) || errors.Is(err, xenctrl.ErrNoXen) {
		return nil, exit.MissingError{Err: fmt.Errorf("this needs a Xen control domain (dom0), which this machine is "+
			"not; in the lab's dom0 it runs as: hangbench lab run %s ...: %w", place.Agent, err)}
	}
	return h, err
}

// Find returns the number of the domain that the user has named, by name or
// number. A domain that is not there is an exit.UsageError.
func Find(h *dom0.Host, domain string) (int, error) {
	id, err := h.Find(domain)
	if errors.Is(err, xenctrl.ErrNoDomain) {
		return 0, exit.UsageError{Err: err}
	}
	return id, err
}

// AddDriver adds the flag that names the library through which monitors reach the
// guest.
func AddDriver(f *pflag.FlagSet, driver *string) {
	f.StringVar(driver, "driver", dom0.Drivers()[0],
		"`name` of the library underneath: "+strings.Join(dom0.Drivers(), " or "))
}

// CheckDriver reports a driver that does not exist as an exit.UsageError.
func CheckDriver(driver string) error {
	if !slices.Contains(dom0.Drivers(), driver) {
		return exit.Usagef("--driver %s: there are %s", driver, strings.Join(dom0.Drivers(), ", "))
	}
	return nil
}

// kernelFlags say which kernel the guest runs.
type kernelFlags struct{ guests, image string }

func (k *kernelFlags) add(f *pflag.FlagSet) {
	f.StringVar(&k.guests, "guests", "",
		"`folder` of guest kernels, of which the guest may run one (default in the lab's dom0: "+place.Guests+")")
	f.StringVar(&k.image, "kernel", "", "`file` of the kernel that the guest runs: vmlinuz or vmlinux (default: "+
		"what the folder has, or what the guest has in its memory)")
}

// profiles returns the profiles of the kernels that the guest may run.
func (k *kernelFlags) profiles(ctx context.Context, h *dom0.Host) ([]*kernel.Profile, error) {
	if k.image == "" {
		return h.Profiles()
	}
	p, err := dom0.ProfileOf(ctx, func() (*kernel.Kernel, error) { return kernel.Open(k.image) })
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, exit.UsageError{Err: err}
	}
	return []*kernel.Profile{p}, nil
}
