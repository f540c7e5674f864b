from everloop.pipelines.executors.forkserver import main

main()
