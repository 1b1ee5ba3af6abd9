// Package csvfile writes CSV files that a spreadsheet can open safely.
package csvfile

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

// Write writes the rows as CSV (RFC 4180).
//
// A spreadsheet takes a cell that begins with =, +, -, @, a tab or a carriage return for
// a formula, and runs it. Write puts an apostrophe before such a cell unless it is a
// number, so that the spreadsheet shows it as text.
func Write(w io.Writer, rows [][]string) error {
	cw := csv.NewWriter(w)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = cell(c)
		}
		if err := cw.Write(cells); err != nil {
			return fmt.Errorf("write csv: %w", err)
		}
	}
	cw.Flush()
	if err := cw.Error(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

func cell(s string) string {
	if s == "" {
		return s
	}
	switch s[0] {
	case '=', '+', '-', '@', '\t', '\r':
		if _, err := strconv.ParseFloat(s, 64); err != nil {
			return "'" + s
		}
	}
	return s
}
