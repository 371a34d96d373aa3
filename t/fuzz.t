# Fuzzes the parsers with libFuzzer: each target of t/fuzz keeps its promises
# for SECONDS_EACH (8) whatever its input, as many at a time as there are
# processors.
#
# What it begins with is t/fuzz/corpus; what it finds stays in build/fuzz-corpus
# until `make clean`.  To add what is new in it, as few files as it needs:
#
#   build/fuzz/json -set_cover_merge=1 t/fuzz/corpus/json build/fuzz-corpus/json

use strict;
use warnings;

use File::Basename qw( basename );
use File::Path     qw( make_path );
use Test::More;

my $Seconds = $ENV{SECONDS_EACH} // 8;
my @Options = ("-max_total_time=$Seconds", qw( -timeout=10 -rss_limit_mb=1024
               -max_len=4096 -use_value_profile=1 -print_final_stats=1 ));

my @Targets = map { basename($_, '.c') } glob 't/fuzz/*.c';
my %Running;            # target by process id

sub start {
    my ($target) = @_;
    my $found = "build/fuzz-corpus/$target";

    make_path($found);

    my $pid = fork // die "cannot fork: $!";
    return $Running{$pid} = $target if $pid;

    open STDOUT, '>', "build/fuzz/$target.log" or die "$target.log: $!";
    open STDERR, '>&', \*STDOUT;
    exec "build/fuzz/$target", @Options,
         -e "t/fuzz/$target.dict" ? "-dict=t/fuzz/$target.dict" : (),
         "-artifact_prefix=build/fuzz/$target-", $found,
         "t/fuzz/corpus/$target"
        or die "build/fuzz/$target: $!";
}

# What libFuzzer has to say of a failure, and how to see it again.
sub tell_more {
    my ($target, $text) = @_;

    my ($file) = $text =~ m{Test unit written to (\S+)};
    my ($bytes) = $text =~ /^Base64: (\S*)/m;

    diag substr $text, $text =~ /^(?:==\d+==|t\/fuzz|\S+:\d+: broken)/m
                       ? $-[0] : 0, 3000;
    diag "to see it again: make fuzz-targets && "
         . "build/fuzz/$target $file" if defined $file;
    diag "on another machine: echo '$bytes' | base64 -d >input && "
         . "build/fuzz/$target input" if defined $bytes;
}

sub finish {
    my $pid = waitpid -1, 0;
    my $status = $?;
    my $target = delete $Running{$pid} // return;

    open my $in, '<', "build/fuzz/$target.log" or die "$target.log: $!";
    my $text = do { local $/; <$in> };
    my ($runs) = $text =~ /^stat::number_of_executed_units: (\d+)/m;

    ok($status == 0 && $runs,
       "$target keeps its promises for " . ($runs // 'no') . ' inputs')
        or tell_more($target, $text);
}

die "run it by make fuzz, or make test\n"
    if !@Targets || grep { !-x "build/fuzz/$_" } @Targets;

chomp(my $processors = `nproc`);

for my $target (@Targets) {
    finish() if keys %Running >= $processors;
    start($target);
}

finish() while %Running;

done_testing();
