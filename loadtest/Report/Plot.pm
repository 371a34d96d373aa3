package Report::Plot;

# Charts by gnuplot, as SVG.

use strict;
use warnings;

use Exporter qw( import );

our @EXPORT_OK = qw( lines stacked );

my @Colors = ('#4878a8', '#c04030', '#50a060', '#d09030', '#8060a0',
              '#d4d4d4', '#606060');


sub gnuplot {
    my ($file, $commands) = @_;

    open my $out, '|-', 'gnuplot' or die "gnuplot: $!\n";
    print $out "set terminal svg size 860,420 background 'white' "
               . "font 'sans-serif,13'\nset output '$file'\n$commands\n";
    close $out or die "gnuplot failed for $file\n";
}

sub data {
    my ($name, @points) = @_;

    return "\$$name << EOD\n"
           . join('', map { join(' ', @$_) . "\n" } @points) . "EOD\n";
}

# lines FILE, { title, x, y, log, limit }, [NAME => [x, y]...]...
sub lines {
    my ($file, $of, @series) = @_;
    my $text = "set title '$of->{title}'\nset xlabel '$of->{x}'\n"
               . "set ylabel '$of->{y}'\nset grid\nset key outside right\n"
               . "set xrange [0:*]\n";
    my (@plots, $n);

    $text .= $of->{log} ? "set logscale y\n" : "set yrange [0:*]\n";

    for (@series) {
        my ($name, @points) = @$_;
        my $color = $Colors[$n++ % @Colors];
        $text .= data("s$n", @points);
        push @plots, "\$s$n using 1:2 with linespoints pointtype 7 "
                     . "pointsize 0.6 linewidth 2 linecolor '$color' "
                     . "title '$name'";
    }

    push @plots, "$of->{limit} with lines dashtype 2 linecolor '#404040' "
                 . "title 'goal'" if $of->{limit};
    gnuplot($file, $text . 'plot ' . join(', ', @plots));
}

# stacked FILE, { title, y }, [PARTS...], [LABEL => values...]...: columns
sub stacked {
    my ($file, $of, $parts, @columns) = @_;
    my $text = "set title '$of->{title}'\nset ylabel '$of->{y}'\n"
               . "set style data histograms\nset style histogram rowstacked\n"
               . "set style fill solid 0.85\nset boxwidth 0.7\nset grid ytics\n"
               . "set yrange [0:*]\nset key outside right\n"
               . "set xtics rotate by -35\n"
               . data('d', map { my ($label, @values) = @$_;
                                 [qq("$label"), @values] } @columns);
    my @plots = map { "\$d using " . ($_ + 2)
                      . ($_ ? '' : ':xtic(1)')
                      . " linecolor '$Colors[$_ % @Colors]' "
                      . "title '$parts->[$_]'" } 0 .. $#$parts;

    gnuplot($file, $text . 'plot ' . join(', ', @plots));
}

1;
