package dom0

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hangbench/bench/dom0/clock"
	"hangbench/guests/kernel"
	"hangbench/monitor/driver"
	"hangbench/monitor/linux"
)

// MemoryRead is what was read of a guest to learn its kernel from its memory.
type MemoryRead struct {
	// Slide is how far KASLR moved the kernel, in bytes.
	Slide uint64 `json:"slide"`
	// Bytes is the size of the pages of the kernel's image that were read.
	Bytes int64 `json:"bytes"`
	// NS is how long reading and parsing took, in nanoseconds of dom0's clock.
	NS int64 `json:"ns"`
}

// ProfileInMemory makes the profile of a guest's kernel from what the guest has of it in
// its memory: its banner, its table of symbols and its BTF. regs are the registers of the
// vCPUs. The guest may run meanwhile: a kernel does not change these. If ctx ends,
// ProfileInMemory returns its error at once, and reads mem no more.
func ProfileInMemory(ctx context.Context, mem linux.Memory, regs ...driver.Registers) (*kernel.Profile, MemoryRead,
	error) {
	var read MemoryRead
	began := clock.Now()
	img, err := linux.FindImage(ctx, mem, regs...)
	if err != nil {
		return nil, read, err
	}
	// A kernel that boots, or that protects nothing, has its constants in pages that are
	// writable or executable.
	var errs []error
	for _, all := range []bool{false, true} {
		p, err := read.profile(ctx, img, all)
		if err == nil {
			read.NS = clock.Now() - began
			return p, read, nil
		}
		errs = append(errs, err)
		if errors.Is(err, kernel.ErrNoBTF) || ctx.Err() != nil {
			break
		}
	}
	return nil, read, fmt.Errorf("read the guest's kernel in its memory: %w", errors.Join(errs...))
}

// profile makes a profile from the constants of an image, or from all of it.
func (r *MemoryRead) profile(ctx context.Context, img *linux.Image, all bool) (*kernel.Profile, error) {
	read, err := img.Read(ctx, all)
	if err != nil {
		return nil, err
	}
	segments := make([]kernel.Segment, len(read))
	for i, s := range read {
		segments[i] = kernel.Segment(s)
		r.Bytes += int64(len(s.Data))
	}
	var slide uint64
	p, err := ProfileOf(ctx, func() (k *kernel.Kernel, err error) {
		k, slide, err = kernel.ReadMemory(segments)
		return k, err
	})
	if err == nil { // else the function may still run
		r.Slide = slide
	}
	return p, err
}

// ProfileOf makes the profile of the kernel that read returns. That takes a second, and
// many in an emulated dom0. If ctx ends, ProfileOf returns its error at once. read then
// goes on until it ends, so it must use nothing that the caller closes.
func ProfileOf(ctx context.Context, read func() (*kernel.Kernel, error)) (*kernel.Profile, error) {
	type answer struct {
		p   *kernel.Profile
		err error
	}
	made := make(chan answer, 1)
	go func() {
		var a answer
		k, err := read()
		if a.err = err; err == nil {
			a.p, a.err = k.Profile(Fields())
		}
		made <- a
	}()
	select {
	case a := <-made:
		return a.p, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// maxDifferences bounds the result of Differences.
const maxDifferences = 20

// Differences returns how a profile differs from another of the same kernel, at most
// some of the differences.
func Differences(got, want *kernel.Profile) []string {
	var all []string
	differ := func(what string, got, want any) {
		if got != want && len(all) < maxDifferences {
			all = append(all, fmt.Sprintf("%s: %v, want %v", what, got, want))
		}
	}
	differ("release", got.Release, want.Release)
	differ("banner", got.Banner, want.Banner)
	differ("number of symbols", got.Symbols.Len(), want.Symbols.Len())
	for i := range min(got.Symbols.Len(), want.Symbols.Len()) {
		if g, w := got.Symbols.At(i), want.Symbols.At(i); g != w {
			differ(fmt.Sprintf("symbol %d", i), g, w)
		}
	}
	for _, name := range Fields() {
		name, _ = strings.CutSuffix(name, "?")
		g, w := layout{got}, layout{want}
		differ(name, linux.Has(g, name), linux.Has(w, name))
		typ, path, _ := strings.Cut(name, ".")
		gf, _ := g.Field(typ, path)
		wf, _ := w.Field(typ, path)
		differ(name, gf, wf)
		gs, _ := g.SizeOf(name)
		ws, _ := w.SizeOf(name)
		differ("size of "+name, gs, ws)
		constant, _ := strings.CutPrefix(name, "enum ")
		gc, _ := g.Constant(constant)
		wc, _ := w.Constant(constant)
		differ(name, gc, wc)
	}
	return all
}
