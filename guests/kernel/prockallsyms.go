package kernel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ParseKallsyms reads the text of /proc/kallsyms as a running kernel prints it
// to root, or a System.map. The names of modules are left out, their symbols
// are not.
func ParseKallsyms(r io.Reader) (*Symbols, error) {
	list := &symbolList{}
	lines := bufio.NewScanner(r)
	known := false // an address other than 0 was seen
	for n := 1; lines.Scan(); n++ {
		fields := bytes.Fields(lines.Bytes())
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 3 || len(fields) > 4 || len(fields[1]) != 1 || len(fields[2]) > maxName {
			return nil, fmt.Errorf("parse kallsyms: line %d: %.80q is not \"address type name [module]\"", n, lines.Text())
		}
		addr, err := strconv.ParseUint(string(fields[0]), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("parse kallsyms: line %d: address: %w", n, err)
		}
		if len(list.entries) == maxSymbols {
			return nil, fmt.Errorf("parse kallsyms: more than %d symbols", maxSymbols)
		}
		known = known || addr != 0
		list.add(addr, fields[1][0], fields[2])
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("parse kallsyms: %w", err)
	}
	if !known {
		return nil, errors.New("parse kallsyms: no symbol with an address; the kernel hides them from ordinary users (kernel.kptr_restrict), read the file as root")
	}
	return list.table(), nil
}
