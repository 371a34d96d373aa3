package Report::Markdown;

# The little of Markdown that the report is made of, and HTML of it that needs
# no other file.

use strict;
use warnings;

use Exporter qw( import );
use Report::Files qw( slurp );

our @EXPORT_OK = qw( rows html number );

my $Style = <<'END';
body { font: 15px/1.5 sans-serif; max-width: 76em; margin: 2em auto; padding: 0 1em; color: #222 }
p, ul { max-width: 56em }
.wide { overflow-x: auto; margin: 1em 0 }
table { border-collapse: collapse }
td, th { border: 1px solid #ccc; padding: .2em .6em; text-align: left; vertical-align: top }
th { background: #f2f2f2 }
code { background: #f4f4f4 }
svg { width: 100%; min-width: 40em; max-width: 62em; height: auto }
END


# With as many digits as say something.
sub number {
    my ($value) = @_;

    return '-' if !defined $value || $value !~ /^-?[\d.]+(?:e[-+]?\d+)?$/;
    return $value if $value =~ /^-?\d+$/;
    my $size = abs $value;
    return sprintf $size >= 100 ? '%.0f' : $size >= 10 ? '%.1f' : '%.2f', $value;
}

# A table of a list of headings and lists of cells.
sub rows {
    my ($head, @rows) = @_;

    return join('', map { '| ' . join(' | ', map { $_ // '-' } @$_) . " |\n" }
                        $head, [('---') x @$head], @rows) . "\n";
}


sub inline {
    my ($text, $dir) = @_;

    $text =~ s/&/&amp;/g;
    $text =~ s/</&lt;/g;
    $text =~ s/>/&gt;/g;
    $text =~ s/(\d) (?=%|m?s\b)/$1&nbsp;/g;
    $text =~ s/`([^`]+)`/<code>$1<\/code>/g;
    $text =~ s/\*\*(.+?)\*\*/<b>$1<\/b>/g;
    $text =~ s/!\[[^\]]*\]\(([^)]+)\)/image("$dir\/$1")/ge;
    $text =~ s/\[([^\]]+)\]\(([^)]+)\)/<a href="$2">$1<\/a>/g;
    return $text;
}

# An SVG goes into the page; several in a page must not share ids.
sub image {
    my ($file) = @_;
    my $svg = slurp($file);
    my ($name) = $file =~ m{([\w-]+)\.svg$};

    $svg =~ s/^.*?(?=<svg)//s;
    $svg =~ s/\bid='([^']+)'/id='$name-$1'/g;
    $svg =~ s/xlink:href='#([^']+)'/xlink:href='#$name-$1'/g;
    $svg =~ s/url\(#([^)]+)\)/url(#$name-$1)/g;
    return $svg;
}

sub html_table {
    my ($dir, @lines) = @_;
    my $html = qq(<div class="wide"><table>);
    my $cell = 'th';

    for (@lines) {
        if (/^\|(?: ?-+ ?\|)+$/) {
            $cell = 'td';
            next;
        }

        s/^\|\s*|\s*\|$//g;
        $html .= '<tr>' . join('', map { "<$cell>" . inline($_, $dir)
                                         . "</$cell>" }
                                   split /\s*\|\s*/, $_, -1) . "</tr>\n";
    }

    return "$html</table></div>\n";
}

# html TITLE MARKDOWN DIRECTORY: images are in that directory
sub html {
    my ($title, $text, $dir) = @_;
    my $body = '';

    for my $block (split /\n\n+/, $text) {
        my @lines = split /\n/, $block;

        if ($block =~ /^(#+) (.*)/) {
            my $level = length $1;
            $body .= "<h$level>" . inline($2, $dir) . "</h$level>\n";

        } elsif ($block =~ /^\|/) {
            $body .= html_table($dir, @lines);

        } elsif ($block =~ /^- /) {
            $body .= '<ul>' . join('', map { '<li>' . inline($_, $dir) }
                                   $block =~ /^- (.*(?:\n  .*)*)/mg)
                     . "</ul>\n";

        } elsif ($block =~ /^!\[/) {
            $body .= '<div class="wide">' . inline($block, $dir) . "</div>\n";

        } else {
            $body .= '<p>' . inline($block, $dir) . "</p>\n";
        }
    }

    return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
           . '<meta name="viewport" content="width=device-width">'
           . "<title>$title</title><style>\n$Style</style></head><body>\n"
           . "$body</body></html>\n";
}

1;
