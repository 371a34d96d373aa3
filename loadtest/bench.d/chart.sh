# shellcheck shell=bash
# Charts, drawn by gnuplot.

# bench_chart DIRECTORY: ratios of the rows, with their targets
bench_chart() {
    local seats=$(( SCHEDULES * SEATS_EACH ))

    (( ${#points[@]} )) || return 0
    printf '%s\n' "${points[@]}" >"$1/ratios.txt"

    gnuplot <<END
set terminal svg size 960,480 background 'white' font 'sans-serif,13'
set output '$1/bench.svg'
set title 'Rates as multiples of their ceilings, $seats seats, one worker'
set style fill solid 0.8
set boxwidth 0.6
set yrange [0:*]
set offsets 0, 0, graph 0.1, 0
set xrange [-0.7:${#points[@]} - 0.3]
set grid ytics
set datafile missing '-'
set xtics rotate by -30
set key top left
plot '$1/ratios.txt' using 0:2:xtic(1) with boxes linecolor '#4878a8' \\
         title 'ours / ceiling', \\
     '' using 0:2:2 with labels offset 0,0.7 notitle, \\
     '' using 0:3 with points pointtype 9 pointsize 1.2 linecolor '#c04030' \\
         title 'target'
END
}

# growth_chart DIRECTORY ROW...: out of the bench.json of each size
growth_chart() {
    local to=$1 row size plots=''
    shift

    for row in "$@"; do
        for size in "$to"/*-seats/bench.json; do
            jq -r --arg row "$row" '(.schedules * .seatsEach) as $seats
                | .rows[] | select(.row == $row and .ours)
                | [$seats, .ours, .ceiling] | @tsv' "$size"
        done | sort -n >"$to/$row.tsv"
        plots+="${plots:+, }'$to/$row.tsv' using 1:2 with linespoints"
        plots+=" title '$row'"
    done

    gnuplot <<END
set terminal svg size 960,540 background 'white' font 'sans-serif,13'
set output '$to/growth.svg'
set title 'Rates as the data grow, one worker'
set logscale xy
set xrange [7e4:1.5e7]
set xlabel 'seats'
set ylabel 'in a second'
set format '%.0s%c'
set grid
set key outside right
plot $plots
END
}
