package bochs

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed shim/shim.c
var shimSource []byte

// BuildShim compiles the library that is preloaded into the emulator, with the C
// compiler cc, and returns its path in dir. It makes dir if needed. A library that
// was built there from the same source is used again if it is undamaged, so dir should
// belong to the compiler's prefix. The C library of cc must not be newer than the
// emulator's: use the prefix's compiler.
func BuildShim(ctx context.Context, cc, dir string) (string, error) {
	source := fmt.Sprintf("shim-%.8x-", sha256.Sum256(shimSource))
	path, err := builtShim(ctx, dir, source)
	if err != nil || path != "" {
		return path, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	if _, err := RemoveUnfinished(dir); err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	// Under another name first: other processes may build it at the same time.
	tmp, held, err := makeUnfinished(dir)
	if err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	defer held.Close()
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "shim.so")
	cmd := exec.CommandContext(ctx, cc, "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-x", "c", "-o", out, "-")
	cmd.Stdin = bytes.NewReader(shimSource)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the emulator's preload library with %s: %w\n%s", cc, err, bytes.TrimSpace(output))
	}
	crc, err := sum(ctx, out)
	if err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	path = filepath.Join(dir, shimName(source, crc))
	if err := os.Rename(out, path); err != nil {
		return "", fmt.Errorf("build the emulator's preload library: %w", err)
	}
	return path, nil
}

// shimName is the file name of a library: its source, and its CRC-32C.
func shimName(source string, crc uint32) string { return fmt.Sprintf("%s%08x.so", source, crc) }

// builtShim returns the path of the library of a source if it is there, and "" if it is
// not. It removes a damaged one.
func builtShim(ctx context.Context, dir, source string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for the emulator's preload library: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), source) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		crc, err := sum(ctx, path)
		if err == nil && shimName(source, crc) == e.Name() {
			return path, nil
		}
		if err == nil {
			err = os.Remove(path)
		}
		if err != nil {
			return "", fmt.Errorf("check the emulator's preload library: %w", err)
		}
	}
	return "", nil
}
